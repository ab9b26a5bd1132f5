//! The environment of what builds an environment: the caller's Pythons, virtual environments and settings of pip and uv
//! do not leak in; where to fetch from, and how to get there, does.

use std::ffi::OsStr;

use tokio::process::Command;

/// Variables with these beginnings are dropped, unless they are among [`SOURCES`].
const DROPPED: [&str; 11] = [
    "PYTHON",
    "__PYVENV",
    "VIRTUAL_ENV",
    "CONDA",
    "_CONDA",
    "_CE_",
    "MAMBA",
    "PIPENV",
    "POETRY",
    "PIP_",
    "UV_",
];

/// Where pip and uv fetch from, and how they get there. Proxies have names of their own, and are not dropped.
const SOURCES: [&str; 27] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_CACHE_DIR",
    "PIP_NO_CACHE_DIR",
    "PIP_CONFIG_FILE",
    "PIP_KEYRING_PROVIDER",
    "PIP_USE_FEATURE",
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_PYTHON_DOWNLOADS",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
    "UV_CONFIG_FILE",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_GITHUB_TOKEN",
    "UV_OFFLINE",
];

/// A command of the builder.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(stays) {
            command.env_remove(name);
        }
    }
    // pip's configuration file may ask for what makes no sense in an environment of its own.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    command
}

fn stays(name: &str) -> bool {
    SOURCES.contains(&name) || !DROPPED.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_pythons_stay_out() {
        for name in [
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONUSERBASE",
            "PYTHONDONTWRITEBYTECODE",
            "PIP_USER",
            "PIP_TARGET",
            "PIP_PREFIX",
            "PIP_CONSTRAINT",
            "PIP_NO_BINARY",
            "UV_PYTHON",
            "UV_PYTHON_INSTALL_DIR",
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
        ] {
            assert!(!stays(name), "{name}");
        }
    }

    #[test]
    fn mirrors_and_proxies_come_along() {
        for name in [
            "PIP_INDEX_URL",
            "PIP_FIND_LINKS",
            "UV_PYTHON_INSTALL_MIRROR",
            "https_proxy",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "PATH",
            "HOME",
            "PYENV_VERSION",
        ] {
            assert!(stays(name), "{name}");
        }
    }
}
