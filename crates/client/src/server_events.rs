//! Parser of server-sent events, byte by byte as they arrive. Fields that it does not know are ignored, as
//! the standard says (HTML, section 9.2.6).

/// Longest event that is read: more than a change set of 1,000 files has.
const MAX_BYTES: usize = 16 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerEvent {
    /// Id of the last event, also of one without data.
    pub(crate) id: Option<String>,
    /// Data; empty for an event that only sets the id.
    pub(crate) data: String,
}

/// Parser with what has arrived of the next event.
#[derive(Default)]
pub(crate) struct EventParser {
    line: Vec<u8>,
    event: ServerEvent,
    has_field: bool,
    bytes: usize,
}

/// An event that is too long, or no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnreadableEvent;

impl EventParser {
    /// Parses what has arrived; returns the events that it completes.
    pub(crate) fn parse(&mut self, arrived: &[u8]) -> Result<Vec<ServerEvent>, UnreadableEvent> {
        let mut events = Vec::new();
        for byte in arrived {
            self.bytes += 1;
            if self.bytes > MAX_BYTES {
                return Err(UnreadableEvent);
            }
            match byte {
                b'\n' => events.extend(self.end_of_line()?),
                other => self.line.push(*other),
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<ServerEvent>, UnreadableEvent> {
        let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| UnreadableEvent)?;
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            self.bytes = 0;
            let event = std::mem::take(&mut self.event);
            return Ok(std::mem::take(&mut self.has_field).then_some(event));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.to_owned()),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            _ => return Ok(None),
        }
        self.has_field = true;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "retry: 2000\nid: 7\n\n:\n\nid: 8\r\nevent: change\r\ndata: {\"a\":\"é\"}\r\n\r\ndata: x\ndata:y\n\nid: 9\ndata: half";
        let event =
            |id: Option<&str>, data: &str| ServerEvent { id: id.map(str::to_owned), data: data.to_owned() };
        let whole = [event(Some("7"), ""), event(Some("8"), "{\"a\":\"é\"}"), event(None, "x\ny")];
        for length in 1..text.len() {
            let mut parser = EventParser::default();
            let pieces = text.as_bytes().chunks(length);
            let events: Vec<_> = pieces.flat_map(|piece| parser.parse(piece).unwrap()).collect();
            assert_eq!(events, whole, "pieces of {length}");
        }
    }

    #[test]
    fn what_never_ends_is_not_kept_for_ever() {
        let mut parser = EventParser::default();
        let much = vec![b'x'; 1 << 20];
        assert!((0..17).any(|_| parser.parse(&much) == Err(UnreadableEvent)));
        assert_eq!(EventParser::default().parse(b"data: \xff\n"), Err(UnreadableEvent));
    }
}
