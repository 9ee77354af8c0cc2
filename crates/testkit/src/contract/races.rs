//! Contract tests of concurrency. I8: of concurrent writers with one precondition exactly one
//! succeeds, and none waits forever.

use std::collections::BTreeSet;

use panaversity_model::change::{Change, Verdict};
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, ContentHash, Layer, Refusal, Schema, View};

use super::Setup;
use super::fixture::{ContractFixture, run_concurrently};
use crate::samples::{change, change_set, draft, lesson, object, overlay, path, write};

const WRITERS: usize = 16;
const ROUNDS: usize = 5;

fn text(round: usize, writer: usize) -> Vec<u8> {
    format!("round {round}, writer {writer}").into_bytes()
}

/// Runs all writers at once; returns their verdicts.
async fn race(fixture: &ContractFixture, count: usize, ask: impl Fn(usize) -> Vec<Change>) -> Vec<Verdict> {
    run_concurrently(count, |writer| {
        let (fixture, changes) = (fixture.clone(), ask(writer));
        async move { fixture.try_commit(&Layer::Base, changes).await.unwrap() }
    })
    .await
}

/// The writer that succeeded; all others must have been refused.
fn winner(verdicts: &[Verdict]) -> usize {
    let winners: Vec<usize> = verdicts
        .iter()
        .enumerate()
        .filter_map(|(writer, verdict)| matches!(verdict, Verdict::Committed(_)).then_some(writer))
        .collect();
    assert_eq!(winners.len(), 1, "exactly one wins: {verdicts:?}");
    winners[0]
}

/// I8: of concurrent creators of one file exactly one wins, and the others are told the hash it
/// wrote.
pub async fn i8_of_concurrent_creators_exactly_one_wins(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for round in 0..ROUNDS {
        let verdicts =
            race(&fixture, WRITERS, |writer| vec![write(&lesson(round), &text(round, writer), None)]).await;
        let written = text(round, winner(&verdicts));
        assert_eq!(fixture.read(&View::base(), &lesson(round)).await, Some(written.clone()));
        let due = Refusal::HashRequired { current: ContentHash::of(&written) };
        for verdict in &verdicts {
            if let Verdict::Refused(_, refusal) = verdict {
                assert_eq!(*refusal, due);
            }
        }
        assert_eq!(fixture.file_chain(&lesson(round), &Layer::Base).await.len(), 1);
    }
    assert_eq!(fixture.breaks().await, vec![]);
}

/// I8: of concurrent updates with one expected hash exactly one wins, round after round.
pub async fn i8_of_concurrent_updates_exactly_one_wins(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    fixture.put(&Layer::Base, &lesson(1), b"start").await;
    let mut now = ContentHash::of(b"start");
    for round in 0..ROUNDS {
        let verdicts =
            race(&fixture, WRITERS, |writer| vec![write(&lesson(1), &text(round, writer), Some(now))]).await;
        let written = text(round, winner(&verdicts));
        now = ContentHash::of(&written);
        assert_eq!(fixture.read(&View::base(), &lesson(1)).await, Some(written));
        for verdict in &verdicts {
            if let Verdict::Refused(_, refusal) = verdict {
                assert!(matches!(refusal, Refusal::Conflict { current, .. } if *current == Some(now)));
            }
        }
    }
    assert_eq!(fixture.file_chain(&lesson(1), &Layer::Base).await.len(), ROUNDS + 1);
    assert_eq!(fixture.breaks().await, vec![]);
}

/// I8: of those who create a file and those who create one below its path, only one kind wins.
pub async fn i8_of_concurrent_creators_of_a_file_and_of_what_lies_below_one_wins(setup: &Setup) {
    let fixture = ContractFixture { schema: Schema::Docusaurus, ..ContractFixture::new(setup) };
    // Many rounds: few of them bring the two kinds into different transactions.
    for round in 0..4 * ROUNDS {
        let file = format!("{}/{round}", ["static/img", "content"][round % 2]);
        let name = |writer: usize| match writer % 4 {
            0 => path(&file),
            n => path(&format!("{file}/{n}/{writer}.png")),
        };
        let verdicts =
            race(&fixture, WRITERS, |writer| vec![write(&name(writer), &text(round, writer), None)]).await;
        let won = |writer: &usize| matches!(verdicts[*writer], Verdict::Committed(_));
        let winners: Vec<usize> = (0..WRITERS).filter(won).collect();
        let files = winners.iter().filter(|writer| **writer % 4 == 0).count();
        assert!(files == 0 || (files == 1 && winners.len() == 1), "round {round}: {winners:?}");
        assert!(!winners.is_empty(), "round {round}");
    }
}

/// I8: of concurrent creators whose names differ only by case exactly one wins.
pub async fn i8_of_concurrent_creators_of_names_that_differ_only_by_case_one_wins(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    for round in 0..ROUNDS {
        let name = |writer: usize| {
            let mut name = format!("round-{round}-abcd").into_bytes();
            let letters = name.len() - 4;
            for (bit, letter) in name[letters..].iter_mut().enumerate() {
                if writer >> bit & 1 == 1 {
                    letter.make_ascii_uppercase();
                }
            }
            path(&format!("static/img/{}.png", String::from_utf8(name).unwrap()))
        };
        let verdicts = race(&fixture, WRITERS, |writer| vec![write(&name(writer), b"a", None)]).await;
        let won = name(winner(&verdicts));
        let shown = fixture.paths(&View::base()).await;
        assert!(shown.contains(&won) && shown.len() == round + 1, "{shown:?}");
    }
}

/// I10: sets that touch the same files in opposite order never deadlock.
pub async fn i10_sets_in_opposite_order_do_not_deadlock(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let files: [BookPath; 2] = [lesson(1), lesson(2)];
    fixture.commit(&Layer::Base, files.iter().map(|file| write(file, b"start", None)).collect()).await;
    let mut now = ContentHash::of(b"start");
    for round in 0..ROUNDS {
        let verdicts = race(&fixture, 8, |writer| {
            let bytes = text(round, writer);
            let mut changes: Vec<_> = files.iter().map(|file| write(file, &bytes, Some(now))).collect();
            if writer % 2 == 1 {
                changes.reverse();
            }
            changes
        })
        .await;
        let written = text(round, winner(&verdicts));
        now = ContentHash::of(&written);
        for file in &files {
            assert_eq!(fixture.read(&View::base(), file).await.as_ref(), Some(&written));
        }
    }
    assert_eq!(fixture.breaks().await, vec![]);
}

/// Writers of different files of a book all succeed, with distinct versions.
pub async fn writers_of_different_files_do_not_hinder_each_other(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let verdicts = race(&fixture, 32, |writer| vec![write(&lesson(writer), &text(0, writer), None)]).await;
    let mut versions = BTreeSet::new();
    for verdict in verdicts {
        let Verdict::Committed(applied) = verdict else { panic!("{verdict:?}") };
        versions.insert(applied[0].publication.as_ref().unwrap().version);
    }
    assert_eq!(versions.len(), 32);
    let (stamp, rows) = fixture.journal.rows(&fixture.book, &Layer::Base, 0).await.unwrap();
    assert_eq!((stamp.count, rows.len()), (32, 32));
    assert_eq!(stamp.sum, versions.iter().sum::<i64>());
}

/// I8: concurrent sets do not affect each other, refused and failed ones included.
pub async fn i8_a_refused_or_failed_set_spoils_no_other(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let unstaged = object(format!("never staged {}", fixture.book).as_bytes());
    let answers = run_concurrently(24, |writer| {
        let mut one = write(&lesson(writer), &text(0, writer), None);
        match writer % 3 {
            1 => one.expected = Some(ContentHash::of(b"never written")),
            2 => one = change(&lesson(writer), Some(unstaged.clone()), None),
            _ => {}
        }
        let (journal, set) = (fixture.journal.clone(), change_set(&fixture.book, &Layer::Base, vec![one]));
        async move { journal.commit(set).await }
    })
    .await;
    for (writer, answer) in answers.into_iter().enumerate() {
        let held = fixture.holds(&Layer::Base, &lesson(writer)).await;
        match writer % 3 {
            0 => {
                let verdict = answer.unwrap();
                assert!(matches!(&verdict, Verdict::Committed(a) if a[0].effect == Effect::Created));
                assert_eq!(held, Some(ContentHash::of(&text(0, writer))));
            }
            1 => {
                assert!(matches!(answer.unwrap(), Verdict::Refused(0, Refusal::NotFound { .. })));
                assert_eq!(held, None);
            }
            _ => {
                assert_eq!(answer.unwrap(), Verdict::Unstaged);
                assert_eq!(held, None);
            }
        }
    }
    assert_eq!(fixture.chains().await.len(), 8);
    assert_eq!(fixture.breaks().await, vec![]);
}

/// Of concurrent first writes under two schemas one schema wins, and only its writers succeed.
pub async fn concurrent_first_writes_agree_on_one_schema(setup: &Setup) {
    for _ in 0..ROUNDS {
        let fixture = ContractFixture::new(setup);
        let schema = |writer: usize| [Schema::Strict, Schema::Docusaurus][writer % 2];
        let verdicts = run_concurrently(8, |writer| {
            let changes = vec![write(&lesson(writer), b"a", None)];
            let mut set = change_set(&fixture.book, &Layer::Base, changes);
            set.schema = schema(writer);
            let journal = fixture.journal.clone();
            async move { journal.commit(set).await.unwrap() }
        })
        .await;
        let has = fixture.journal.book(&fixture.book).await.unwrap().unwrap().schema;
        for (writer, verdict) in verdicts.iter().enumerate() {
            let won = matches!(verdict, Verdict::Committed(_));
            assert_eq!(won, schema(writer) == has, "{verdict:?}");
        }
        assert_eq!(fixture.paths(&View::base()).await.len(), 4);
    }
}

/// R6: concurrent changes and entries in one chain still link, one by one.
pub async fn r6_a_crowded_chain_links(setup: &Setup) {
    let fixture = ContractFixture::new(setup);
    let layer = overlay("reader");
    run_concurrently(WRITERS, |writer| {
        let (fixture, layer) = (fixture.clone(), layer.clone());
        async move {
            for round in 0..4 {
                let entry = draft(Some(&fixture.book), Some(&lesson(1)), &layer);
                fixture.journal.append(entry).await.unwrap();
                let now = fixture.holds(&layer, &lesson(1)).await;
                let change = write(&lesson(1), &text(round, writer), now);
                fixture.try_commit(&layer, vec![change]).await.unwrap();
            }
        }
    })
    .await;
    let entries = fixture.file_chain(&lesson(1), &layer).await;
    assert!(entries.len() > WRITERS * 4);
    assert!(entries.is_sorted_by(|a, b| a.timestamp < b.timestamp), "time goes strictly up");
    assert_eq!(fixture.breaks().await, vec![]);
}
