//! Text in the width of a screen.

use textwrap::{Options, WordSplitter};

/// Break a line at blanks; the lines that follow are indented.
pub(crate) fn wrap(text: &str, width: u16, indent: &str) -> String {
    let options = Options::new(width.into())
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 9, "  "), "one two\n  three");
        assert_eq!(wrap("short", 80, "  "), "short");
        assert_eq!(wrap("a-very-long-word b", 5, " "), "a-very-long-word\n b");
    }
}
