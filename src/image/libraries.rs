//! What a program that is not static needs beside it: its loader, and the libraries that this one finds.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use object::{
    Endianness,
    elf::FileHeader64,
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader, ProgramHeader},
    },
};

use super::Error;

/// Loader and libraries, where they are on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// The loader, by the path that the program asks for; `None` for a static program.
    pub loader: Option<PathBuf>,
    /// Libraries by the names that they are asked for, sorted.
    pub libraries: Vec<(String, PathBuf)>,
}

/// Libraries of glibc before 2.34 that are loaded only when a name is looked up, so that no list has them.
const FOR_NAMES: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// What `program` needs, as its own loader tells.
pub(super) fn of(program: &Path) -> Result<Needed, Error> {
    let Some(loader) = loader(program)? else {
        return Ok(Needed::default());
    };
    let failed = |reason: String| Error::Libraries {
        loader: loader.display().to_string(),
        reason,
    };
    let listed = Command::new(&loader).arg("--list").arg(program).output();
    let listed = listed.map_err(|error| failed(error.to_string()))?;
    if !listed.status.success() {
        return Err(failed(String::from_utf8_lossy(&listed.stderr).trim().to_owned()));
    }
    let mut libraries = parse(&String::from_utf8_lossy(&listed.stdout)).map_err(failed)?;
    libraries.extend(for_names(&libraries));
    libraries.sort();
    libraries.dedup();
    Ok(Needed {
        loader: Some(loader),
        libraries,
    })
}

/// The loader that an ELF program names.
fn loader(program: &Path) -> Result<Option<PathBuf>, Error> {
    let failed = |source| Error::Read {
        what: program.display().to_string(),
        source,
    };
    let cache = ReadCache::new(File::open(program).map_err(failed)?);
    let found = interpreter(&cache).map_err(|error| failed(std::io::Error::other(error)))?;
    Ok(found.map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned())))
}

fn interpreter<'data>(data: impl ReadRef<'data>) -> Result<Option<&'data [u8]>, object::read::Error> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    for part in header.program_headers(endian, data)? {
        if let Some(path) = part.interpreter(endian, data)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Lines as in `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`. Those without an arrow are the loader and what the
/// kernel provides.
fn parse(listed: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let mut libraries = Vec::new();
    for line in listed.lines() {
        let Some((name, place)) = line.trim().split_once(" => ") else {
            continue;
        };
        let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
        if !path.starts_with('/') {
            return Err(line.trim().to_owned());
        }
        // The loader is listed by this form as well where the C library asks for it by name.
        libraries.push((base_name(name).to_owned(), PathBuf::from(path)));
    }
    Ok(libraries)
}

fn base_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}

fn for_names(libraries: &[(String, PathBuf)]) -> Vec<(String, PathBuf)> {
    let c_library = libraries.iter().find(|(name, _)| name.starts_with("libc.so."));
    let Some(directory) = c_library.and_then(|(_, path)| path.parent()) else {
        return Vec::new();
    };
    let there = FOR_NAMES.map(|name| (name.to_owned(), directory.join(name)));
    there.into_iter().filter(|(_, path)| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)\n\
                      \tlibc.so.6 => /usr/lib/with space/libc.so.6 (0x00007f2)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)\n";
        let found = parse(listed).unwrap();
        assert_eq!(
            found,
            [
                (
                    "libgcc_s.so.1".to_owned(),
                    PathBuf::from("/lib/x86_64-linux-gnu/libgcc_s.so.1")
                ),
                (
                    "libc.so.6".to_owned(),
                    PathBuf::from("/usr/lib/with space/libc.so.6")
                ),
            ]
        );
    }

    #[test]
    fn a_library_that_is_not_found_is_told() {
        let told = parse("\tlibx.so => not found\n").unwrap_err();
        assert_eq!(told, "libx.so => not found");
    }

    #[test]
    fn what_is_no_program_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let told = of(file.path()).unwrap_err().to_string();
        assert!(told.contains(&file.path().display().to_string()), "{told}");
    }
}
