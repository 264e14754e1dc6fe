//! Server-sent events, as the HTML standard defines them, from bytes in pieces of any size.

/// Longest event that is believed: sixteen times what the server ever sends. A peer that is not our
/// server must not fill the memory.
const MAX_EVENT_BYTES: usize = 2 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// Its kind; `message` when the server did not say.
    pub(crate) kind: String,
    /// Its data, lines joined by line feeds.
    pub(crate) data: String,
    /// The last id that the server gave, with this event or before.
    pub(crate) id: Option<String>,
}

/// A stream that is no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    /// It is not text.
    #[error("the event stream is not UTF-8")]
    NotText,
    /// It does not come to an end.
    #[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// A carriage return ended the last line: a line feed that follows belongs to it.
    after_return: bool,
    /// Whether a line was seen, before which a byte order mark may stand.
    begun: bool,
    kind: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    /// Takes the bytes that came and gives the events that they complete.
    ///
    /// # Errors
    /// [`SseError`]; the parser must not be used after it.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end);
            let (ending, rest) = rest.split_at(1);
            bytes = rest;
            let is_second_half = ending == b"\n" && self.after_return && end == 0;
            self.after_return = ending == b"\r";
            if !is_second_half {
                self.line.extend_from_slice(line);
                events.extend(self.end_line()?);
            }
        }
        if !bytes.is_empty() {
            self.after_return = false;
            self.line.extend_from_slice(bytes);
        }
        if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
            return Err(SseError::TooLong);
        }
        Ok(events)
    }

    /// Reads the collected line; an empty one completes an event.
    fn end_line(&mut self) -> Result<Option<Event>, SseError> {
        let bytes = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&bytes).map_err(|_| SseError::NotText)?;
        let line = if std::mem::replace(&mut self.begun, true) {
            line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(line)
        };
        if line.is_empty() {
            return Ok(self.complete());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments, and fields that we do not know. `retry` too: the wait is ours to choose.
            _ => {}
        }
        Ok(None)
    }

    fn complete(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| Event {
            kind: if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            },
            data,
            id: self.id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Vec<Event> {
        Parser::default().push(text.as_bytes()).unwrap()
    }

    fn event(kind: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            kind: kind.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn fields_comments_and_endings_are_read_as_the_standard_says() {
        let text = ": keep-alive\n\n\
                    event: log\nid: 7\ndata: one\ndata:two\n\n\
                    data\n\n\
                    retry: 10\nid\nunknown: x\n\n\
                    data:  spaced\n\n";
        assert_eq!(
            parse(text),
            [
                event("log", "one\ntwo", Some("7")),
                event("message", "", Some("7")),
                event("message", " spaced", Some("")),
            ]
        );
        assert_eq!(
            parse("\u{feff}data: a\r\n\r\n"),
            [event("message", "a", None)]
        );
        assert_eq!(parse("data: a\r\rdata: b\n\n").len(), 2);
    }

    #[test]
    fn an_event_that_is_cut_off_is_none() {
        assert_eq!(parse("data: half"), []);
        assert_eq!(parse("data: half\n"), []);
    }

    #[test]
    fn endless_and_binary_streams_are_refused() {
        let mut parser = Parser::default();
        let much = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert_eq!(parser.push(&much), Err(SseError::TooLong));
        assert_eq!(
            Parser::default().push(b"data: \xff\n"),
            Err(SseError::NotText)
        );
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0_usize..60, 0..8)) {
            let text = "id: 1\r\nevent: log\r\ndata: gr\u{fc}n\r\n\r\n:c\n\ndata: a\rdata: b\r\r\n\n";
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut events = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                events.extend(parser.push(&bytes[from..cut]).unwrap());
                from = cut;
            }
            prop_assert_eq!(events, parse(text));
        }
    }
}
