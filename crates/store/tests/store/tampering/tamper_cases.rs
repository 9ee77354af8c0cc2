//! Tamper cases: everything that a database client could do to one chain (R6).

use panaversity_model::audit::{AuditEntry, ChainKey};
use panaversity_model::{ContentHash, Timestamp};

use super::Victim;

/// One tamper case.
pub(super) struct TamperCase {
    pub(super) what: String,
    pub(super) sql: String,
    /// Chains that must be reported, and no others, each with words of the reason.
    pub(super) shows: Vec<(ChainKey, &'static str)>,
}

const EDITED: &str = "the entry was edited";
const OUT_OF_LINE: &str = "does not follow the one before it";
const MISSING: &str = "entries are missing";
const TIP: &str = "not the chain's tip";
const JOURNAL: &str = "the journal says something else";
const UNREADABLE: &str = "cannot be read";
const ADDED: &str = "was added";
const UNCHAINED: &str = "row is gone";

/// All tamper cases against a chain.
pub(super) fn of(victim: &Victim, on_sqlite: bool) -> Vec<TamperCase> {
    let mut tamper_cases = edits(victim);
    if on_sqlite {
        // SQLite columns accept any text.
        let id = &victim.entries[victim.middle()].id;
        for column in ["timestamp", "execution_time_ms"] {
            let sql = format!("UPDATE audit_log SET {column} = 'gibberish' WHERE id = '{id}'");
            tamper_cases.push(victim.case(&format!("making {column} unreadable"), UNREADABLE, sql));
        }
    }
    tamper_cases.extend(deletions(victim));
    tamper_cases.extend(insertions(victim));
    tamper_cases.extend(reorderings(victim));
    tamper_cases.extend(beside_the_log(victim));
    tamper_cases
}

impl Victim {
    fn case(&self, what: &str, because: &'static str, sql: String) -> TamperCase {
        TamperCase { what: what.to_owned(), sql, shows: vec![(self.key.clone(), because)] }
    }

    fn middle(&self) -> usize {
        self.entries.len() / 2
    }

    fn last(&self) -> &AuditEntry {
        self.entries.last().unwrap()
    }

    /// SQL condition that selects the chain's rows.
    fn rows(&self) -> String {
        at(&self.key)
    }
}

fn at(ChainKey { book, path, user }: &ChainKey) -> String {
    format!("book_id = '{book}' AND path = '{path}' AND user_id = '{user}'")
}

/// Edits of every column, one at a time.
fn edits(victim: &Victim) -> Vec<TamperCase> {
    let id = &victim.entries[victim.middle()].id;
    let stranger = ContentHash::of(b"stranger");
    let mut tamper_cases: Vec<TamperCase> = [
        ("id", "'00000000-0000-7000-8000-000000000000'".to_owned()),
        ("timestamp", format!("'{}'", shifted(&victim.entries[victim.middle()], 1))),
        ("agent_id", "'mallory'".to_owned()),
        ("operation", "'CREATE'".to_owned()),
        ("status", "'refused'".to_owned()),
        ("error_code", "'CONFLICT'".to_owned()),
        ("error_message", "'never said'".to_owned()),
        ("execution_time_ms", "execution_time_ms + 1".to_owned()),
        ("request_id", "'another request'".to_owned()),
        ("change_id", "'another change'".to_owned()),
        ("old_content_hash", format!("'{stranger}'")),
        ("new_content_hash", format!("'{stranger}'")),
        ("prev_hash", format!("'{stranger}'")),
        ("entry_hash", format!("'{stranger}'")),
    ]
    .into_iter()
    .map(|(column, value)| {
        let sql = format!("UPDATE audit_log SET {column} = {value} WHERE id = '{id}'");
        victim.case(&format!("editing {column}"), EDITED, sql)
    })
    .collect();
    for (column, value) in [("book_id", "stolen-book"), ("path", "content/stolen.md"), ("user_id", "thief")] {
        let sql = format!("UPDATE audit_log SET {column} = '{value}' WHERE id = '{id}'");
        let mut there = victim.key.clone();
        match column {
            "book_id" => value.clone_into(&mut there.book),
            "path" => value.clone_into(&mut there.path),
            _ => value.clone_into(&mut there.user),
        }
        let missing = (victim.key.clone(), MISSING);
        let chain = format!(
            "INSERT INTO chains (book_id, path, user_id, count, version) VALUES ('{}', '{}', '{}', 0, 0)",
            there.book, there.path, there.user
        );
        tamper_cases.push(TamperCase {
            what: format!("moving an entry by its {column}"),
            sql: sql.clone(),
            shows: vec![missing.clone(), (there.clone(), UNCHAINED)],
        });
        tamper_cases.push(TamperCase {
            what: format!("moving an entry by its {column}, with a chain to hold it"),
            sql: format!("{chain}; {sql}"),
            shows: vec![missing, (there, ADDED)],
        });
    }
    tamper_cases.push(victim.case(
        "rewriting history from the middle on, consistently",
        TIP,
        rewritten(&victim.entries, victim.middle()),
    ));
    tamper_cases
}

/// Timestamp of an entry, shifted by `micros`.
fn shifted(entry: &AuditEntry, micros: i64) -> Timestamp {
    Timestamp::from_micros(entry.timestamp.micros() + micros)
}

/// Statements that give entries another agent and link them again.
fn rewritten(entries: &[AuditEntry], from: usize) -> String {
    let (mut sql, mut tip) = (Vec::new(), Some(entries[from - 1].entry_hash.clone()));
    for entry in &entries[from..] {
        let mut forged = entry.clone();
        "mallory".clone_into(&mut forged.agent_id);
        forged.prev_hash = tip.take();
        forged.entry_hash = forged.computed_hash();
        tip = Some(forged.entry_hash.clone());
        sql.push(format!("DELETE FROM audit_log WHERE id = '{}'; {}", entry.id, inserted(&forged)));
    }
    sql.join("; ")
}

fn deletions(victim: &Victim) -> Vec<TamperCase> {
    let (entries, rows) = (&victim.entries, victim.rows());
    let without = |some: &[AuditEntry]| {
        let ids: Vec<String> = some.iter().map(|entry| format!("'{}'", entry.id)).collect();
        format!("DELETE FROM audit_log WHERE id IN ({})", ids.join(", "))
    };
    let (middle, last) = (victim.middle(), entries.len() - 1);
    assert!(entries[last].is_change() && entries[last - 1].is_change(), "the chain ends with changes");
    let fitting = format!(
        "{}; UPDATE chains SET tip = '{}', count = count - 1 WHERE {rows}",
        without(&entries[last..]),
        entries[last - 1].entry_hash
    );
    vec![
        victim.case("deleting the first entry", OUT_OF_LINE, without(&entries[..1])),
        victim.case("deleting an entry from the middle", OUT_OF_LINE, without(&entries[middle..=middle])),
        victim.case("deleting the last entry", MISSING, without(&entries[last..])),
        victim.case("cutting off the tail", MISSING, without(&entries[middle..])),
        victim.case("deleting all entries", MISSING, without(entries)),
        victim.case("cutting off the last change, with the chain's row made to fit", JOURNAL, fitting),
    ]
}

fn insertions(victim: &Victim) -> Vec<TamperCase> {
    let forged = |from: &AuditEntry, by: i64, prev: Option<&AuditEntry>| {
        let mut forged = from.clone();
        "0000forged".clone_into(&mut forged.id);
        forged.timestamp = shifted(from, by);
        forged.prev_hash = prev.map(|prev| prev.entry_hash.clone());
        (forged.change_id, forged.old_content_hash, forged.new_content_hash) = (None, None, None);
        "READ".clone_into(&mut forged.operation);
        forged.entry_hash = forged.computed_hash();
        forged
    };
    let (first, middle, last) = (&victim.entries[0], &victim.entries[victim.middle()], victim.last());
    let mut lone = forged(last, 1, None);
    "content/never-written.md".clone_into(&mut lone.path);
    lone.entry_hash = lone.computed_hash();
    vec![
        victim.case("inserting a first entry", OUT_OF_LINE, inserted(&forged(first, -1, None))),
        victim.case(
            "inserting an entry that follows another",
            OUT_OF_LINE,
            inserted(&forged(middle, 1, Some(middle))),
        ),
        victim.case("adding an entry that follows the last", ADDED, inserted(&forged(last, 1, Some(last)))),
        TamperCase {
            what: "beginning a chain".to_owned(),
            shows: vec![(lone.chain(), UNCHAINED)],
            sql: inserted(&lone),
        },
    ]
}

fn reorderings(victim: &Victim) -> Vec<TamperCase> {
    let (one, two) = (&victim.entries[victim.middle()], &victim.entries[victim.middle() + 1]);
    let swapped = |column: &str| {
        format!(
            "UPDATE audit_log SET {column} = s.{column} FROM saved_audit_log s WHERE \
             (audit_log.id = '{0}' AND s.id = '{1}') OR (audit_log.id = '{1}' AND s.id = '{0}')",
            one.id, two.id
        )
    };
    let mut links = (one.clone(), two.clone());
    (links.0.timestamp, links.1.timestamp) = (two.timestamp, one.timestamp);
    links.0.entry_hash = links.0.computed_hash();
    links.1.entry_hash = links.1.computed_hash();
    let sealed_anew = format!(
        "DELETE FROM audit_log WHERE id IN ('{}', '{}'); {}; {}",
        one.id,
        two.id,
        inserted(&links.0),
        inserted(&links.1)
    );
    vec![
        victim.case("swapping the times of two entries", OUT_OF_LINE, swapped("timestamp")),
        victim.case("swapping what two entries say", EDITED, swapped("new_content_hash")),
        victim.case("swapping the requests of two entries", EDITED, swapped("request_id")),
        victim.case("swapping two entries and sealing them anew", OUT_OF_LINE, sealed_anew),
    ]
}

/// Changes to the journal and the chains' rows.
fn beside_the_log(victim: &Victim) -> Vec<TamperCase> {
    let (rows, stranger) = (victim.rows(), ContentHash::of(b"stranger"));
    assert!(victim.record.journal.is_some(), "the victim exists");
    let other = ChainKey { path: "content/never-written.md".to_owned(), ..victim.key.clone() };
    let planted = format!(
        "INSERT INTO file_journal SELECT book_id, '{0}', user_id, sha256, last_written_at, storage_backend, size, \
         version, '{0}' FROM saved_file_journal WHERE {rows}",
        other.path
    );
    vec![
        victim.case(
            "changing what a file holds",
            JOURNAL,
            format!("UPDATE file_journal SET sha256 = '{stranger}' WHERE {rows}"),
        ),
        victim.case("deleting a file", JOURNAL, format!("DELETE FROM file_journal WHERE {rows}")),
        TamperCase { what: "planting a file".to_owned(), sql: planted, shows: vec![(other, UNCHAINED)] },
        victim.case("deleting a chain's row", UNCHAINED, format!("DELETE FROM chains WHERE {rows}")),
        victim.case(
            "moving a chain's tip",
            TIP,
            format!("UPDATE chains SET tip = '{stranger}' WHERE {rows}"),
        ),
        victim.case("counting one less", TIP, format!("UPDATE chains SET count = count - 1 WHERE {rows}")),
        victim.case(
            "counting one more",
            MISSING,
            format!("UPDATE chains SET count = count + 1 WHERE {rows}"),
        ),
    ]
}

/// Statement that inserts an entry.
pub(super) fn inserted(entry: &AuditEntry) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let optional = |column: &Option<String>| column.as_deref().map_or("NULL".to_owned(), text);
    let columns = [
        text(&entry.id),
        text(&entry.timestamp.to_string()),
        text(&entry.agent_id),
        text(&entry.operation),
        text(&entry.book_id),
        text(&entry.path),
        text(&entry.user_id),
        text(&entry.status),
        optional(&entry.error_code),
        optional(&entry.error_message),
        entry.execution_time_ms.to_string(),
        text(&entry.request_id),
        optional(&entry.change_id),
        optional(&entry.old_content_hash),
        optional(&entry.new_content_hash),
        optional(&entry.prev_hash),
        text(&entry.entry_hash),
    ];
    format!("INSERT INTO audit_log VALUES ({})", columns.join(", "))
}
