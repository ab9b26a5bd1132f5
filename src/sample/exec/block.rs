//! What a reader in a container writes: lines that begin with `@`, and the text of counter files between them.
//!
//! ```text
//! @time 123450000000        CLOCK_MONOTONIC or the like before the first file, nanoseconds
//! @file cpu.stat
//! usage_usec 4711
//! …
//! @error io.stat: …         a file that could not be read this time
//! @time 123450080000        after the last file
//! @cpu 61000                CPU time of the reader itself, microseconds; not every reader knows
//! @end 17                   the question that it answers
//! ```

use crate::{
    record::reading::Counters,
    sample::controller::{Hierarchy, SOURCES, Source},
};

/// One answer of a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Before the first file, the reader's clock, nanoseconds.
    pub before_ns: u64,
    /// After the last file.
    pub after_ns: u64,
    /// What the files say.
    pub counters: Counters,
    /// Why files could not be read.
    pub error: Option<String>,
    /// CPU time of the reader, microseconds.
    pub cpu_usec: Option<u64>,
}

/// Names of the files that a reader is asked for: those of the unified hierarchy.
pub fn files() -> impl Iterator<Item = &'static str> {
    sources().map(|source| source.file)
}

fn sources() -> impl Iterator<Item = &'static Source> {
    SOURCES.iter().filter(|source| source.hierarchy == Hierarchy::V2)
}

/// Read a block from its lines, the last left out. `None`: it is none.
pub fn parse(lines: &[String]) -> Option<Block> {
    let mut block = Block::default();
    let mut times = Vec::with_capacity(2);
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        let content = after.iter().take_while(|line| !line.starts_with('@')).count();
        let (mark, value) = line.strip_prefix('@')?.split_once(' ')?;
        match mark {
            "time" => times.push(value.parse().ok()?),
            "cpu" => block.cpu_usec = value.parse().ok(),
            "error" => block.error = Some(value.to_owned()),
            "file" => {
                let text = after[..content].join("\n");
                if let Some(source) = sources().find(|source| source.file == value) {
                    (source.parse)(&text, &mut block.counters);
                }
            }
            _ => {}
        }
        rest = &after[content..];
    }
    [block.before_ns, block.after_ns] = times.try_into().ok()?;
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_block_is_taken_apart() {
        let block = parse(&lines(
            "@time 100\n@file cpu.stat\nusage_usec 7\nuser_usec 5\n@file memory.current\n4096\n\n\
             @error memory.stat: I/O error\n@file unheard.of\n9\n@time 130\n@cpu 12",
        ))
        .unwrap();
        assert_eq!(
            (block.before_ns, block.after_ns, block.cpu_usec),
            (100, 130, Some(12))
        );
        assert_eq!(
            (block.counters.usage_usec, block.counters.memory_current),
            (Some(7), Some(4096))
        );
        assert_eq!(block.counters.memory_anon, None);
        assert_eq!(block.error.as_deref(), Some("memory.stat: I/O error"));
    }

    #[test]
    fn what_is_no_block_is_none() {
        assert_eq!(parse(&lines("sh: not found")), None);
        assert_eq!(parse(&lines("@time 1")), None);
        assert_eq!(parse(&lines("@time x\n@time 2")), None);
    }

    #[test]
    fn every_counter_of_a_unified_host_is_asked_for() {
        let files: Vec<_> = files().collect();
        for wanted in [
            "cpu.stat",
            "memory.current",
            "memory.stat",
            "memory.peak",
            "pids.current",
        ] {
            assert!(files.contains(&wanted), "{files:?}");
        }
        assert!(!files.contains(&"cpuacct.usage"));
    }
}
