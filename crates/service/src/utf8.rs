//! Incremental UTF-8 validator: checks bytes that arrive part by part, and buffers no more than the
//! beginning of one character.

use async_trait::async_trait;
use panaversity_model::Fault;
use panaversity_model::ports::Pages;

/// Parts that are validated as they pass.
pub(crate) struct Utf8Pages<'a> {
    inner: &'a mut dyn Pages<u8>,
    /// The beginning of a character whose end is in the next part.
    cut: Vec<u8>,
    valid: bool,
}

impl<'a> Utf8Pages<'a> {
    pub(crate) fn new(inner: &'a mut dyn Pages<u8>) -> Self {
        Self { inner, cut: Vec::new(), valid: true }
    }

    /// True if all bytes passed so far are valid UTF-8 and no character is cut.
    pub(crate) fn is_valid(&self) -> bool {
        self.valid && self.cut.is_empty()
    }

    fn check(&mut self, part: &[u8]) {
        // A character has at most four bytes, so at most three more complete the cut one.
        let mut rest = part;
        while !self.cut.is_empty() && self.valid {
            let Some((next, more)) = rest.split_first() else { return };
            self.cut.push(*next);
            rest = more;
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) => self.valid = error.error_len().is_none(),
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() => self.cut = rest[error.valid_up_to()..].to_vec(),
            Err(_) => self.valid = false,
        }
    }
}

#[async_trait]
impl Pages<u8> for Utf8Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let part = self.inner.next().await?;
        if let Some(part) = part.as_deref().filter(|_| self.valid) {
            self.check(part);
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Parts(std::vec::IntoIter<Vec<u8>>);

    #[async_trait]
    impl Pages<u8> for Parts {
        async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
            Ok(self.0.next())
        }
    }

    async fn is_valid(parts: Vec<Vec<u8>>) -> bool {
        let mut parts = Parts(parts.into_iter());
        let mut checked = Utf8Pages::new(&mut parts);
        while checked.next().await.unwrap().is_some() {}
        checked.is_valid()
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..12),
            (any::<String>(), any::<u8>()).prop_map(|(text, odd)| [text.as_bytes(), &[odd]].concat()),
        ]
    }

    proptest! {
        #[test]
        fn parts_are_text_exactly_if_all_of_them_together_are(bytes in bytes(), length in 1usize..5) {
            let parts = bytes.chunks(length).map(<[u8]>::to_vec).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let checked = runtime.block_on(is_valid(parts));
            prop_assert_eq!(checked, std::str::from_utf8(&bytes).is_ok());
        }
    }
}
