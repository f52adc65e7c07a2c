//! What is wrong with a body that is no JSON, in the words of upstream's scanner (Go's `encoding/json/scanner.go`).
//!
//! Asked only when parsing has failed, so it may cost a walk. What Go takes and our parser does not (texts that are no
//! UTF-8, halves of surrogate pairs) is told in our parser's words.

use super::depth;

/// Upstream's word for a text that ends too early.
const ENDED: &str = "unexpected end of JSON input";

/// What the parser says of this JSON, in upstream's words where it has any.
pub fn told(error: &serde_json::Error, json: &[u8]) -> String {
    if error.is_syntax() || error.is_eof() {
        let scanned = Scan { rest: json }.whole();
        if let Err(fault) = scanned {
            return fault;
        }
        if error.to_string().starts_with("recursion limit exceeded") {
            return depth::EXCEEDED.to_owned();
        }
    }
    error.to_string()
}

/// What has been opened and not closed.
#[derive(Clone, Copy)]
enum Open {
    List,
    Object,
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn whole(&mut self) -> Result<(), String> {
        let mut open = Vec::new();
        self.begin_value(&mut open)?;
        loop {
            let Some(innermost) = open.last().copied() else {
                self.blanks();
                return match self.rest.first() {
                    None => Ok(()),
                    Some(byte) => Err(invalid(*byte, "after top-level value")),
                };
            };
            match (innermost, self.token()?) {
                (Open::List, b',') => self.begin_value(&mut open)?,
                (Open::Object, b',') => self.field(&mut open)?,
                (Open::List, b']') | (Open::Object, b'}') => {
                    open.pop();
                }
                (Open::List, other) => return Err(invalid(other, "after array element")),
                (Open::Object, other) => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }

    /// Reads a value, or the beginning of one: as far as the first value inside it that is neither list nor object, or its
    /// end where it is empty.
    fn begin_value(&mut self, open: &mut Vec<Open>) -> Result<(), String> {
        loop {
            match self.token()? {
                b'[' => {
                    open.push(Open::List);
                    if self.next_is(b']')? {
                        open.pop();
                        return Ok(());
                    }
                }
                b'{' => {
                    open.push(Open::Object);
                    if self.next_is(b'}')? {
                        open.pop();
                        return Ok(());
                    }
                    self.name()?;
                }
                b'"' => return self.text(),
                b'-' => return self.number(None),
                digit @ b'0'..=b'9' => return self.number(Some(digit)),
                b't' => return self.literal("true"),
                b'f' => return self.literal("false"),
                b'n' => return self.literal("null"),
                other => return Err(invalid(other, "looking for beginning of value")),
            }
        }
    }

    /// A field behind a comma.
    fn field(&mut self, open: &mut Vec<Open>) -> Result<(), String> {
        self.name()?;
        self.begin_value(open)
    }

    /// A field's name and the colon behind it.
    fn name(&mut self) -> Result<(), String> {
        match self.token()? {
            b'"' => self.text()?,
            other => return Err(invalid(other, "looking for beginning of object key string")),
        }
        match self.token()? {
            b':' => Ok(()),
            other => Err(invalid(other, "after object key")),
        }
    }

    /// What stands behind the opening quote.
    fn text(&mut self) -> Result<(), String> {
        loop {
            match self.byte()? {
                b'"' => return Ok(()),
                b'\\' => match self.byte()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.byte()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(invalid(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                control @ ..=0x1f => return Err(invalid(control, "in string literal")),
                _ => {}
            }
        }
    }

    /// What stands behind the sign or the first digit.
    fn number(&mut self, first: Option<u8>) -> Result<(), String> {
        let first = match first {
            Some(digit) => digit,
            None => self.digit("in numeric literal")?,
        };
        if first != b'0' {
            self.digits();
        }
        if self.rest.first() == Some(&b'.') {
            self.rest = &self.rest[1..];
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.rest.first(), Some(b'e' | b'E')) {
            self.rest = &self.rest[1..];
            if matches!(self.rest.first(), Some(b'+' | b'-')) {
                self.rest = &self.rest[1..];
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<u8, String> {
        let byte = self.byte()?;
        if byte.is_ascii_digit() { Ok(byte) } else { Err(invalid(byte, place)) }
    }

    fn digits(&mut self) {
        let more = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[more..];
    }

    /// What stands behind the first letter.
    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.chars().skip(1) {
            let byte = self.byte()?;
            if char::from(byte) != expected {
                return Err(invalid(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    fn blanks(&mut self) {
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.rest = &self.rest[blanks..];
    }

    /// The next byte that is no blank.
    fn token(&mut self) -> Result<u8, String> {
        self.blanks();
        self.byte()
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| ENDED.to_owned())?;
        self.rest = rest;
        Ok(*first)
    }

    /// Takes the next byte that is no blank if it is this one.
    fn next_is(&mut self, wanted: u8) -> Result<bool, String> {
        self.blanks();
        match self.rest.split_first() {
            None => Err(ENDED.to_owned()),
            Some((first, rest)) if *first == wanted => {
                self.rest = rest;
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }
}

fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        0x07 => "\\a".to_owned(),
        0x08 => "\\b".to_owned(),
        0x0b => "\\v".to_owned(),
        0x0c => "\\f".to_owned(),
        ..=0x1f | 0x7f => format!("\\x{byte:02x}"),
        0x80..=0xa0 | 0xad => format!("\\u{byte:04x}"),
        // Go takes the byte for a character of its own.
        other => char::from(other).to_string(),
    };
    format!("invalid character '{shown}' {place}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn faults_are_told_as_gos_scanner_tells_them() {
        for (json, wanted) in [
            ("", ENDED),
            ("  ", ENDED),
            ("{", ENDED),
            ("[1", ENDED),
            ("{\"a\":", ENDED),
            ("{\"a\":\"b", ENDED),
            ("nul", ENDED),
            ("-", ENDED),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("apiVersion: v1", "invalid character 'a' looking for beginning of value"),
            ("<html>", "invalid character '<' looking for beginning of value"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[[1]}", "invalid character '}' after array element"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("[01]", "invalid character '1' after array element"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("-a", "invalid character 'a' in numeric literal"),
            ("1.a", "invalid character 'a' after decimal point in numeric literal"),
            ("1e+a", "invalid character 'a' in exponent of numeric literal"),
            ("[tRue]", "invalid character 'R' in literal true (expecting 'r')"),
            ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
            ("\u{feff}{}", "invalid character 'ï' looking for beginning of value"),
        ] {
            let error = serde_json::from_str::<Value>(json).unwrap_err();
            assert_eq!(told(&error, json.as_bytes()), wanted, "{json}");
        }
    }

    #[test]
    fn what_is_json_to_go_is_told_in_the_parsers_words_or_as_too_deep() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let error = serde_json::from_str::<Value>(&deep).unwrap_err();
        assert_eq!(told(&error, deep.as_bytes()), depth::EXCEEDED);
        let half = "\"\\ud800\"";
        let error = serde_json::from_str::<Value>(half).unwrap_err();
        assert!(told(&error, half.as_bytes()).contains("hex escape"), "{}", told(&error, half.as_bytes()));
        for fine in ["{\"a\": [1, -0.5e+3, {}, [], \"\\u00e4\\n\"], \"b\": {\"c\": null}}", " true ", "0"] {
            assert_eq!(Scan { rest: fine.as_bytes() }.whole(), Ok(()), "{fine}");
        }
    }
}
