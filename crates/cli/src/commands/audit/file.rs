//! Offline verification of files that `audit export` wrote. Needs no database; reads a file once, line by
//! line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use panaversity_client::progress::{ProgressObserver, Unit};
use panaversity_model::audit_export::{
    EarlierTips, ExportEnd, ExportError, ExportLine, ExportVerifier, MAX_LINE_BYTES, PrefixChecker,
};
use serde_json::json;

use super::verify::Verification;
use super::{break_json, break_line, printable};
use crate::failure::Failure;
use crate::progress::TerminalProgress;

/// Bytes between two steps of the progress bar.
const STEP: u64 = 1 << 20;

/// An earlier export, verified.
pub(super) struct EarlierExport {
    pub(super) tips: EarlierTips,
    book: Option<String>,
}

/// Reads the export that another state is compared with.
pub(super) fn earlier(path: &Path) -> Result<EarlierExport, Failure> {
    let mut tips = EarlierTips::default();
    let (checked, _) = read(path, |line| tips.add(line))?;
    let end = checked.map_err(|error| {
        let path = path.display();
        Failure::Failed(format!("--against {path}: {}", printable(&error.to_string())))
    })?;
    Ok(EarlierExport { tips, book: end.book_id })
}

/// Verifies an export, and that it continues an earlier one.
pub(super) fn verify(path: &Path, earlier: Option<EarlierExport>) -> Result<Verification, Failure> {
    let compared = earlier.as_ref().map(|earlier| earlier.tips.count());
    let (tips, book) = earlier.map_or_else(Default::default, |earlier| (earlier.tips, earlier.book));
    let mut prefix = PrefixChecker::new(tips);
    let (checked, entries) = read(path, |line| prefix.add(line))?;
    let end = match checked {
        Ok(end) => end,
        Err(error) => {
            let mut shown = error.chain.as_deref().map_or_else(|| json!({}), break_json);
            shown["line"] = error.line.into();
            shown["reason"] = error.reason.as_str().into();
            let line = printable(&format!("{}: {error}", path.display()));
            return Ok(Verification {
                chains: 0,
                entries,
                compared,
                breaks: vec![(shown, line)],
                digest: None,
            });
        }
    };
    if compared.is_some() && end.book_id.is_some() && end.book_id != book {
        let (later, earlier) = (end.book_id.unwrap_or_default(), book.unwrap_or("the whole log".to_owned()));
        return Err(Failure::Usage(format!(
            "the later export is of {later} alone, the earlier one of {earlier}: compare exports of the same books"
        )));
    }
    let breaks = prefix.finish();
    Ok(Verification {
        chains: end.chains,
        entries,
        compared,
        breaks: breaks.iter().map(|found| (break_json(found), break_line(found))).collect(),
        digest: Some(end.digest),
    })
}

/// Verifies a file and shows each good line to `see`; returns its end, or its first defect, and the number of
/// entries.
fn read(
    path: &Path,
    mut see: impl FnMut(&ExportLine),
) -> Result<(Result<ExportEnd, ExportError>, u64), Failure> {
    let unreadable = |error| Failure::Failed(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let progress = TerminalProgress.begin("verifying".to_owned(), size, Unit::Bytes);
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    let (mut verifier, mut done, mut shown) = (ExportVerifier::default(), 0, 0);
    loop {
        line.clear();
        let most = MAX_LINE_BYTES as u64 + 1;
        let length = (&mut file).take(most).read_until(b'\n', &mut line).map_err(unreadable)?;
        if length == 0 {
            let entries = verifier.entries();
            return Ok((verifier.finish(), entries));
        }
        match verifier.check(&line) {
            Ok(line) => see(&line),
            Err(error) => return Ok((Err(error), verifier.entries())),
        }
        done += length as u64;
        if done - shown >= STEP {
            shown = done;
            progress.done(done);
        }
    }
}
