//! Text in the width of a screen.

use std::io::IsTerminal;

use textwrap::{Options, WordSplitter};

/// Columns of the terminal at stderr; `None` where there is none, and lines are for programs too.
pub(crate) fn stderr_width() -> Option<u16> {
    std::io::stderr()
        .is_terminal()
        .then(|| comfy_table::Table::new().use_stderr().width())
        .flatten()
}

/// Break a line at blanks; the lines that follow are indented.
pub(crate) fn wrap(text: &str, width: u16, indent: &str) -> String {
    let options = Options::new(width.into())
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// Break a line whose first word says what it is about: the lines that follow stand below the second.
pub(crate) fn hang(line: &str, width: u16) -> String {
    let word = line.len() - line.trim_start().len();
    let second = line[word..]
        .split_once(' ')
        .map_or("", |(_, rest)| rest.trim_start());
    wrap(line, width, &" ".repeat(line.len() - second.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 9, "  "), "one two\n  three");
        assert_eq!(wrap("short", 80, "  "), "short");
        assert_eq!(
            hang("meter   one two three", 15),
            "meter   one two\n        three"
        );
        assert_eq!(wrap("a-very-long-word b", 5, " "), "a-very-long-word\n b");
    }
}
