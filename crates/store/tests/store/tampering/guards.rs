//! The database's own guards (R6, R7): for every user, it refuses to change, delete or replace an entry,
//! to insert one without a real agent, or to fork a chain.

use panaversity_model::audit::AuditEntry;

use super::tamper_cases::inserted;
use super::{Place, Raw, load};

const APPEND_ONLY: &str = "append-only";

/// A copy of an entry with its own id and hash.
fn like(entry: &AuditEntry, prev: Option<&str>) -> AuditEntry {
    let mut other = entry.clone();
    "0000forged".clone_into(&mut other.id);
    other.prev_hash = prev.map(str::to_owned);
    other.entry_hash = other.computed_hash();
    other
}

/// Statements that are refused, with a word of the error.
fn attempts(entries: &[AuditEntry], raw: &Raw) -> Vec<(String, &'static str)> {
    let (entry, last) = (&entries[1], entries.last().unwrap());
    let as_agent = |agent: &str| {
        let mut other = like(last, Some(&last.entry_hash));
        agent.clone_into(&mut other.agent_id);
        inserted(&other)
    };
    let (fork, root) = (like(last, entry.prev_hash.as_deref()), like(last, None));
    let update = "ON CONFLICT (id) DO UPDATE SET agent_id = 'mallory'";
    let mut all = vec![
        (format!("UPDATE audit_log SET agent_id = 'mallory' WHERE id = '{}'", entry.id), APPEND_ONLY),
        ("UPDATE audit_log SET agent_id = agent_id".to_owned(), APPEND_ONLY),
        (format!("DELETE FROM audit_log WHERE id = '{}'", last.id), APPEND_ONLY),
        ("DELETE FROM audit_log".to_owned(), APPEND_ONLY),
        (format!("{} {update}", inserted(entry)), APPEND_ONLY),
        (as_agent(""), "agent_id"),
        (as_agent("  "), "agent_id"),
        (as_agent("system"), "agent_id"),
        (as_agent(" System "), "agent_id"),
    ];
    match raw {
        Raw::Postgres(_) => all.extend([
            ("TRUNCATE audit_log".to_owned(), APPEND_ONLY),
            ("TRUNCATE audit_log, chains CASCADE".to_owned(), APPEND_ONLY),
            (inserted(&fork), "audit_log_link"),
            (inserted(&root), "audit_log_link"),
        ]),
        Raw::Sqlite(_) => {
            all.extend([(inserted(&fork), APPEND_ONLY), (inserted(&root), APPEND_ONLY)]);
            let replaced = |entry: &AuditEntry| inserted(entry).replacen("INSERT", "INSERT OR REPLACE", 1);
            // By id, by hash, and by place in the chain.
            let (mut by_hash, mut by_id) = (entry.clone(), like(last, Some(&last.entry_hash)));
            "0000forged".clone_into(&mut by_hash.id);
            by_hash.prev_hash = Some(last.entry_hash.clone());
            by_id.id.clone_from(&entry.id);
            all.extend([&by_id, &by_hash, &fork, &root].map(|entry| (replaced(entry), APPEND_ONLY)));
            let update =
                format!("UPDATE OR REPLACE audit_log SET id = '{}' WHERE id = '{}'", entry.id, last.id);
            all.push((update, APPEND_ONLY));
        }
    }
    all
}

async fn refuses(place: Place) {
    let victim = load(&place).await;
    let raw = Raw::open(&place).await;
    let rows = || raw.texts("SELECT entry_hash FROM audit_log ORDER BY id");
    let before = rows().await;
    for (sql, word) in attempts(&victim.entries, &raw) {
        let why = raw.run(&sql).await.expect_err(&sql);
        assert!(why.contains(word), "{sql}: {why}");
        assert_eq!(rows().await, before, "{sql}");
    }
    // A valid successor of the last entry is accepted: the guards distinguish the two.
    let last = victim.entries.last().unwrap();
    assert_eq!(raw.run(&inserted(&like(last, Some(&last.entry_hash)))).await, Ok(1));
}

#[tokio::test]
async fn r6_the_database_itself_refuses_to_change_the_log_on_sqlite() {
    refuses(Place::sqlite()).await;
}

#[tokio::test]
async fn r6_the_database_itself_refuses_to_change_the_log_on_postgresql() {
    refuses(Place::postgres()).await;
}
