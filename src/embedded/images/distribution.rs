//! How a Python that TensorFlow 2.13.0 has wheels for is had on this distribution.

use std::collections::HashMap;

/// By `uv`, which keeps its own; pipx puts it into a place of its own, where distributions guard their Python.
const BY_UV: &str = "uv python install 3.11";

/// How to have a suitable Python here, as a command where there is one.
pub(super) fn remedy() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    remedy_for(&text.unwrap_or_default())
}

/// The same, for a distribution with that `os-release`.
fn remedy_for(os_release: &str) -> String {
    let facts: HashMap<_, _> = os_release.lines().filter_map(assignment).collect();
    let fact = |name| facts.get(name).copied().unwrap_or_default();
    let families = format!("{} {}", fact("ID"), fact("ID_LIKE"));
    let is = |family: &str| families.split(' ').any(|known| known == family);
    let major = fact("VERSION_ID").split('.').next().unwrap_or_default();
    let command = if is("alpine") {
        return "TensorFlow has no wheels for musl, so it takes a distribution with glibc".to_owned();
    } else if is("debian") || is("ubuntu") {
        let codename = ["UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"]
            .into_iter()
            .map(fact)
            .find(|name| !name.is_empty());
        match codename.unwrap_or_default() {
            // Their python3 is 3.9, 3.11, 3.8 and 3.10. Later ones have no suitable one in their archives.
            "bullseye" | "bookworm" | "focal" | "jammy" => "apt-get install python3-venv".to_owned(),
            _ => format!("apt-get install pipx && pipx install uv && ~/.local/bin/{BY_UV}"),
        }
    } else if is("fedora") && !is("rhel") && !is("centos") || (is("rhel") && ["8", "9"].contains(&major)) {
        "dnf install python3.11".to_owned()
    } else if is("suse") || is("opensuse") {
        "zypper install python311".to_owned()
    } else if is("arch") {
        format!("pacman -S uv && {BY_UV}")
    } else {
        format!("pip install uv && {BY_UV}")
    };
    match fact("PRETTY_NAME") {
        "" => format!("to have one: `{command}`"),
        name => format!("to have one on {name}: `{command}`"),
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim(), value.trim().trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_what_works_on_that_distribution() {
        let uv_by_pipx = "apt-get install pipx && pipx install uv && ~/.local/bin/uv python install 3.11";
        for (os_release, expected) in [
            (
                "ID=debian\nVERSION_CODENAME=bookworm",
                "apt-get install python3-venv",
            ),
            ("ID=debian\nVERSION_CODENAME=trixie", uv_by_pipx),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy",
                "apt-get install python3-venv",
            ),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble",
                uv_by_pipx,
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble",
                uv_by_pipx,
            ),
            (
                "ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME=bookworm",
                "apt-get install python3-venv",
            ),
            ("ID=fedora\nVERSION_ID=42", "dnf install python3.11"),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"",
                "dnf install python3.11",
            ),
            (
                "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"10.0\"",
                "pip install uv && uv python install 3.11",
            ),
            (
                "ID=opensuse-leap\nID_LIKE=\"suse opensuse\"",
                "zypper install python311",
            ),
            ("ID=arch", "pacman -S uv && uv python install 3.11"),
            ("", "pip install uv && uv python install 3.11"),
        ] {
            let told = remedy_for(os_release);
            assert!(told.ends_with(&format!("`{expected}`")), "{os_release}: {told}");
        }
        assert!(remedy_for("ID=alpine").contains("musl"));
    }

    #[test]
    fn the_distribution_is_named() {
        let told = remedy_for("PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nID=ubuntu\nVERSION_CODENAME=noble");
        assert!(told.contains("on Ubuntu 24.04.1 LTS: `"), "{told}");
    }
}
