//! What the nodes know an image by.

use std::{fmt, str::FromStr};

/// Name and tag of an image in full, as container runtimes keep it: `docker.io/library/` is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    repository: String,
    tag: String,
}

/// Why a name cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No tag.
    #[error("name a tag, as in {0}:1: without one the kubelet would ask a registry each time")]
    NoTag(String),
    /// `latest`.
    #[error("name a tag other than latest: of that one the kubelet asks a registry each time")]
    Latest,
    /// A digest.
    #[error("a digest comes from what is packed: name a tag instead, as in NAME:1")]
    Digest,
    /// Anything else.
    #[error(
        "an image's name is lower-case words, digits and .-_ between slashes, with a tag: REGISTRY/NAME:TAG"
    )]
    Form,
}

impl Name {
    /// The part after the last colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('@') {
            return Err(NameError::Digest);
        }
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ if is_repository(&in_full(text)) => return Err(NameError::NoTag(text.to_owned())),
            _ => return Err(NameError::Form),
        };
        if tag == "latest" {
            return Err(NameError::Latest);
        }
        let repository = in_full(repository);
        if !is_repository(&repository) || !is_tag(tag) {
            return Err(NameError::Form);
        }
        Ok(Self {
            repository,
            tag: tag.to_owned(),
        })
    }
}

/// As every container runtime completes it: the first part is a registry if it could be a host's name, else it is a part
/// of a name on Docker Hub.
fn in_full(repository: &str) -> String {
    match repository.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    }
}

fn is_repository(text: &str) -> bool {
    let Some((host, path)) = text.split_once('/') else {
        return false;
    };
    let (host, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_host = |part: &str| {
        let ends = [part.chars().next(), part.chars().last()];
        ends.iter()
            .all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    host.split('.').all(is_host)
        && !port.is_empty()
        && port.chars().all(|digit| digit.is_ascii_digit())
        && path.split('/').all(is_path)
}

/// Lower-case letters and digits; between them `.`, `_`, `__` or any number of `-`.
fn is_path(part: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let mut between = part.split(is_word).filter(|between| !between.is_empty());
    let separated =
        |between: &str| matches!(between, "." | "_" | "__") || between.chars().all(|letter| letter == '-');
    part.starts_with(is_word) && part.ends_with(is_word) && between.all(separated)
}

fn is_tag(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.starts_with(is_word)
        && text.len() <= 128
        && text
            .chars()
            .all(|letter| is_word(letter) || matches!(letter, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> Result<String, NameError> {
        text.parse::<Name>().map(|name| name.to_string())
    }

    #[test]
    fn a_name_is_completed_as_runtimes_do() {
        let same = [
            "ghcr.io/migbench/migbench:0.1.0",
            "localhost/migbench:1",
            "localhost:5000/a/b:1",
            "r.example:5000/a_b/c__d/e---f.g:V1_.-",
        ];
        for name in same {
            assert_eq!(full(name).as_deref(), Ok(name));
        }
        assert_eq!(full("migbench:1").as_deref(), Ok("docker.io/library/migbench:1"));
        assert_eq!(full("me/migbench:1").as_deref(), Ok("docker.io/me/migbench:1"));
    }

    #[test]
    fn what_would_be_pulled_each_time_is_refused() {
        assert_eq!(full("migbench"), Err(NameError::NoTag("migbench".into())));
        assert_eq!(
            full("localhost:5000/migbench"),
            Err(NameError::NoTag("localhost:5000/migbench".into()))
        );
        assert_eq!(full("migbench:latest"), Err(NameError::Latest));
        assert_eq!(full("migbench@sha256:00"), Err(NameError::Digest));
    }

    #[test]
    fn what_no_runtime_takes_is_refused() {
        let wrong = [
            "",
            ":1",
            "/a:1",
            "a/:1",
            "a//b:1",
            "A:1",
            "me/A:1",
            "a:",
            "a:-1",
            "a b:1",
            "a..b:1",
            "a___b:1",
            "-a:1",
            "r.example:/a:1",
            "r.example:x/a:1",
            "-.example/a:1",
            "a:1\n",
        ];
        for name in wrong {
            assert_eq!(full(name), Err(NameError::Form), "{name:?}");
        }
        assert_eq!(full(&format!("a:{}", "x".repeat(129))), Err(NameError::Form));
    }
}
