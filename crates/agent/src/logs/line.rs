//! CRI's log line: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`.

use jiff::Timestamp;

/// One line of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// As it is written.
    pub time: &'a str,
    pub stream: &'a str,
    /// More of the same line follows.
    pub partial: bool,
    /// Without the newline.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// `None`: not such a line, or one without its end.
    pub fn parse(bytes: &'a [u8]) -> Option<Line<'a>> {
        let bytes = bytes.strip_suffix(b"\n")?;
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = std::str::from_utf8(parts.next()?).ok()?;
        let tags = parts.next()?;
        let text = parts.next().unwrap_or_default();
        if !matches!(stream, "stdout" | "stderr") {
            return None;
        }
        Some(Line { time, stream, partial: tags.split(|byte| *byte == b':').next() == Some(b"P"), text })
    }

    pub fn at(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_and_others_are_not() {
        let line = Line::parse(b"2026-11-23T22:00:00.5Z stderr P a b  c\n").unwrap();
        assert_eq!((line.stream, line.partial, line.text), ("stderr", true, &b"a b  c"[..]));
        assert_eq!(line.at().unwrap().subsec_millisecond(), 500);
        assert_eq!(Line::parse(b"2026-11-23T22:00:00Z stdout F \n").unwrap().text, b"");
        assert!(Line::parse(b"2026-11-23T22:00:00Z stdout F cut off").is_none());
        assert!(Line::parse(b"plain text\n").is_none());
    }
}
