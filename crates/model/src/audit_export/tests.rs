//! Properties of the format: what was exported verifies, and no other file does.

use proptest::prelude::*;

use super::*;
use crate::audit::tests::draft;
use crate::book::BookId;
use crate::chain::ChainError;
use crate::hash::ContentHash;
use crate::layer::{Layer, UserId};
use crate::timestamp::Timestamp;

/// An export of chains of these lengths, as lines with their line feeds.
fn export(lengths: &[u8]) -> Vec<String> {
    export_after(0, lengths)
}

/// The same with other contents for another `id`.
fn export_after(mut id: u64, lengths: &[u8]) -> Vec<String> {
    let (mut tips, mut lines) = (TipDigest::default(), Vec::new());
    for (n, length) in lengths.iter().enumerate() {
        let (mut entries, mut prev, mut holds) = (Vec::new(), None::<String>, None);
        let mut draft = draft(1);
        draft.book = Some(BookId::parse(&format!("book-{}", n / 2)).unwrap());
        draft.layer = if n % 2 == 0 { Layer::Base } else { Layer::Overlay(UserId::parse("ada").unwrap()) };
        for _ in 0..*length {
            id += 1;
            draft.elapsed_ms = id;
            draft.old = holds.replace(ContentHash::of(&id.to_be_bytes()));
            draft.new = holds;
            let entry = draft.seal(Timestamp::from_micros(i64::try_from(id).unwrap()), prev.as_deref());
            prev = Some(entry.entry_hash.clone());
            entries.push(ExportLine::Entry(entry));
        }
        let record = ChainRecord { key: draft.chain(), tip: prev, count: i64::from(*length), journal: None };
        lines.push(ExportLine::Chain(ChainTip::from(&record)));
        lines.extend(entries);
    }
    for line in &lines {
        tips.add(line);
    }
    lines.push(ExportLine::End(tips.end(None)));
    lines.iter().map(|line| line.to_json() + "\n").collect()
}

fn verified(lines: &[String]) -> Result<Vec<ExportLine>, ExportError> {
    let mut verifier = ExportVerifier::default();
    let all = lines.iter().map(|line| verifier.check(line.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    verifier.finish().map(|_| all)
}

fn compared(earlier: &[String], later: &[String]) -> Vec<ChainError> {
    let mut tips = EarlierTips::default();
    verified(earlier).unwrap().iter().for_each(|line| tips.add(line));
    let mut prefix = PrefixChecker::new(tips);
    verified(later).unwrap().iter().for_each(|line| prefix.add(line));
    prefix.finish()
}

proptest! {
    #[test]
    fn r6_any_single_change_to_an_export_is_found_at_a_line(
        lengths in prop::collection::vec(0u8..5, 1..6),
        at: prop::sample::Index, other: prop::sample::Index, byte: prop::sample::Index,
        flip in 1u8..=127, kind in 0..7,
    ) {
        let lines = export(&lengths);
        prop_assert!(verified(&lines).is_ok());
        let mut changed = lines.clone();
        let (at, other) = (at.index(lines.len()), other.index(lines.len()));
        match kind {
            0 => {
                let mut bytes = lines[at].clone().into_bytes();
                let byte = byte.index(bytes.len());
                bytes[byte] ^= flip;
                changed[at] = String::from_utf8(bytes).unwrap();
            }
            1 => { changed.remove(at); }
            2 => changed.insert(other, lines[at].clone()),
            3 => changed.swap(at, other),
            4 => changed.truncate(at),
            5 => {
                let keep = byte.index(lines[at].len());
                changed.truncate(at);
                changed.push(lines[at][..keep].to_owned());
            }
            _ => changed[at].insert(byte.index(lines[at].len()), ' '),
        }
        prop_assume!(changed != lines);
        // A cut at the end of a line, and the line that was emptied, are the same file.
        changed.retain(|line| !line.is_empty());
        let error = verified(&changed).unwrap_err();
        prop_assert!(error.line >= 1 && error.line <= changed.len() as u64 + 1, "{error}");
    }

    #[test]
    fn r6_a_log_that_only_grew_continues_its_earlier_export_and_no_other_does(
        earlier in prop::collection::vec(0u8..4, 1..5), more in 1u8..3,
    ) {
        let lines = export(&earlier);
        prop_assert_eq!(compared(&lines, &lines), vec![]);
        let last = earlier.len() - 1;
        let mut later = earlier.clone();
        later[last] += more;
        later.push(1);
        prop_assert_eq!(compared(&lines, &export(&later)), vec![]);
        // Rewritten consistently, every entry of every chain.
        let rewritten = compared(&lines, &export_after(1_000, &later));
        prop_assert_eq!(rewritten.len(), earlier.iter().filter(|length| **length > 0).count());
        prop_assert_eq!(compared(&lines, &export(&earlier[..last])).is_empty(), earlier[last] == 0);
    }
}

#[test]
fn r6_the_form_of_an_export_is_fixed_for_ever() {
    let end = "{\"type\":\"end\",\"format\":\"panaversity-audit-export-1\",\"book_id\":null,\"chains\":2,\"entries\":3,\
        \"digest\":\"af300bc0a8f9655930d1737c13d8a181aebe8a02072082912a2b7ad2fd520039\"}\n";
    assert_eq!(export(&[1, 2]).pop().unwrap(), end);
}

#[test]
fn an_export_of_an_empty_log_is_its_last_line() {
    assert_eq!(verified(&export(&[])).unwrap().len(), 1);
}
