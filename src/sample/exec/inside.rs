//! The reader that this program itself is, in containers of its own image, where there is neither shell nor Python.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use super::block;
use crate::{
    record::clock::monotonic_ns,
    sample::{
        agent::own_cpu_usec,
        counter_file::{CounterFile, EMPTY},
    },
};

/// Answer each line of `input` with a block of the counters below `root`, until it ends.
pub fn serve(root: &Path, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let open = |name| Some((name, CounterFile::open(root.join(name)).ok()?));
    let files: Vec<_> = block::files().filter_map(open).collect();
    writeln!(output, "@reader migbench 0")?;
    output.flush()?;
    for line in input.lines() {
        let question = line?;
        // In one piece: each write is a message through the API server.
        let mut block = Vec::new();
        answer(&question, &files, &mut block)?;
        output.write_all(&block)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(question: &str, files: &[(&str, CounterFile)], block: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = EMPTY;
    writeln!(block, "@time {}", monotonic_ns())?;
    for (name, file) in files {
        match file.read(&mut buffer) {
            Ok(content) => writeln!(block, "@file {name}\n{}", content.trim_end())?,
            Err(error) => writeln!(block, "@error {name}: {error}")?,
        }
    }
    writeln!(block, "@time {}", monotonic_ns())?;
    if let Ok(usec) = own_cpu_usec() {
        writeln!(block, "@cpu {usec}")?;
    }
    writeln!(block, "@end {question}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_answered_with_a_block() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("cpu.stat"), "usage_usec 10\n").unwrap();
        let mut output = Vec::new();
        serve(root.path(), &b"1\n2\n"[..], &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let (greeting, blocks) = text.split_once('\n').unwrap();
        assert_eq!(greeting, "@reader migbench 0");
        let (first, second) = blocks.split_once("@end 1\n").unwrap();
        assert!(
            first.starts_with("@time ") && second.ends_with("@end 2\n"),
            "{text}"
        );
        let lines: Vec<String> = second
            .trim_end_matches("@end 2\n")
            .lines()
            .map(str::to_owned)
            .collect();
        let block = block::parse(&lines).unwrap();
        assert_eq!(block.counters.usage_usec, Some(10));
        assert!(block.cpu_usec.is_some() && block.before_ns <= block.after_ns);
    }
}
