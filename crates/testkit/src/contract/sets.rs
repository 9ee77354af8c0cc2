//! Contract tests of change sets: all or nothing (I10).

use std::collections::BTreeSet;

use panaversity_model::change::{Applied, Verdict};
use panaversity_model::precondition::Effect;
use panaversity_model::publication::Attempt;
use panaversity_model::{ContentHash, ErrorCode, Layer, View};

use super::Setup;
use super::fixture::ContractFixture;
use crate::samples::{change_set, delete, lesson, overlay, write};

/// I10: one refused change refuses the whole set, whichever change it is.
pub async fn i10_a_set_with_one_refused_change_does_nothing(setup: &Setup) {
    for bad in 0..3 {
        let fixture = ContractFixture::new(setup);
        let mut changes: Vec<_> = (0..3).map(|n| write(&lesson(n), b"a", None)).collect();
        changes[bad].expected = Some(ContentHash::of(b"never written"));
        let (index, refusal) = fixture.refused(&Layer::Base, changes).await;
        assert_eq!((index, refusal.code()), (bad, ErrorCode::NotFound));
        fixture.assert_untouched().await;
    }
}

/// I10: a refused set leaves existing files, their versions and their chains as they were.
pub async fn i10_a_refused_set_leaves_existing_files_alone(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for n in 0..3 {
        fixture.put(&Layer::Base, &lesson(n), b"a").await;
    }
    let (stamp, rows) = fixture.journal.rows(&fixture.book, &Layer::Base, 0).await.unwrap();
    let a = ContentHash::of(b"a");
    let changes = vec![
        delete(&lesson(0), Some(a)),
        write(&lesson(1), b"b", Some(a)),
        write(&lesson(2), b"b", None),
        write(&lesson(3), b"b", None),
    ];
    let (index, refusal) = fixture.refused(&Layer::Base, changes).await;
    assert_eq!((index, refusal.code()), (2, ErrorCode::HashRequired));
    assert_eq!(fixture.journal.rows(&fixture.book, &Layer::Base, 0).await.unwrap(), (stamp, rows));
    for n in 0..3 {
        assert_eq!(fixture.file_chain(&lesson(n), &Layer::Base).await.len(), 1);
    }
    assert_eq!(fixture.breaks().await, vec![]);
}

/// Results are in the order of the changes, whatever order the engine locks in, and the entries of
/// a set carry its ids.
pub async fn a_set_answers_in_the_order_of_its_changes(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let layer = overlay("reader");
    let a = ContentHash::of(b"a");
    let there = vec![write(&lesson(2), b"a", None), write(&lesson(3), b"a", None)];
    for applied in fixture.commit(&layer, there).await {
        fixture.journal.acknowledge(&applied.publication.unwrap(), Attempt::Done).await.unwrap();
    }
    let changes = vec![
        write(&lesson(9), b"b", None),
        delete(&lesson(3), None),
        delete(&lesson(1), None),
        write(&lesson(2), b"b", Some(a)),
    ];
    let set = change_set(&fixture.book, &layer, changes);
    let verdict = fixture.journal.commit(set.clone()).await.unwrap();
    let Verdict::Committed(applied) = verdict else { panic!("{verdict:?}") };
    assert_eq!(applied.len(), 4);
    let results = [
        (Effect::Created, None),
        (Effect::Deleted, Some(a)),
        (Effect::Unchanged, None),
        (Effect::Updated, Some(a)),
    ];
    for ((change, applied), (effect, replaced)) in set.changes.iter().zip(&applied).zip(results) {
        assert_eq!(*applied, Applied { publication: applied.publication.clone(), ..change.applied(effect) });
        let publication = applied.publication.as_ref();
        assert_eq!(publication.is_some(), applied.effect != Effect::Unchanged);
        assert!(publication.is_none_or(|p| p.key.path == change.path && p.lease == set.lease));
        let entries = fixture.file_chain(&change.path, &layer).await;
        let entry = entries.last().unwrap();
        assert_eq!(entry.id, change.content.entry.to_string());
        assert_eq!(entry.old_content_hash, replaced.map(|hash| hash.to_string()));
        assert_eq!(entry.change_id, Some(set.id.to_string()));
        assert_eq!(entry.request_id, set.request.to_string());
        assert_eq!(
            (entry.agent_id.as_str(), entry.operation.as_str()),
            ("tester", change.operation.as_str())
        );
        assert_eq!((entry.user_id.as_str(), entry.execution_time_ms), (layer.as_str(), 3));
    }
}

/// I10: a set of the largest allowed size commits, or is refused, as a whole.
pub async fn i10_a_set_of_a_thousand_files_is_all_or_nothing(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    // Not in path order, so that an engine has to sort.
    let order: Vec<usize> = (0..1000).map(|n| n * 7 % 1000).collect();
    let text = |n: usize| format!("lesson {n}").into_bytes();
    let writes = || order.iter().map(|n| write(&lesson(*n), &text(*n), None)).collect::<Vec<_>>();
    let mut spoiled = writes();
    spoiled[999].expected = Some(ContentHash::of(b"never written"));
    assert_eq!(fixture.refused(&Layer::Base, spoiled).await.0, 999);
    fixture.assert_untouched().await;
    let applied = fixture.commit(&Layer::Base, writes()).await;
    let versions: BTreeSet<_> = applied.iter().map(|one| one.publication.as_ref().unwrap().version).collect();
    assert_eq!(versions.len(), 1000, "each change has a version of its own");
    assert_eq!(fixture.paths(&View::base()).await.len(), 1000);
    for n in [0, 500, 999] {
        assert_eq!(fixture.read(&View::base(), &lesson(n)).await, Some(text(n)));
    }
}
