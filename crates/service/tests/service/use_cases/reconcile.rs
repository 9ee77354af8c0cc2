//! `reconcile` over the fakes: each difference is found once and treated as requested, and nothing else
//! is changed. Proves R2 for the tree after changes made without the service, and R7 for adopted files.

use std::collections::BTreeMap;

use panaversity_model::ports::{FileInventory, Publications};
use panaversity_model::{AgentId, ContentHash, Layer};
use panaversity_service::Service;
use panaversity_service::reconcile::{Finding, Mode, Reconciled};
use panaversity_testkit::FaultMode;
use panaversity_testkit::memory::location;
use panaversity_testkit::samples::{agent, key, lesson, overlay, path};

use crate::fixture::{AGENT, LIMITS, PROBE_TIMEOUT, ServiceFixture, long};
use crate::invariants::{entries, hold};

/// Runs it; returns the findings by location: the difference and the action taken.
async fn run(server: &Service, mode: Mode) -> (BTreeMap<String, (&'static str, &'static str)>, Reconciled) {
    let mut told: Vec<Finding> = Vec::new();
    let done = server.reconcile(None, &mode, &mut |finding| told.push(finding)).await.unwrap();
    assert_eq!(done.found, told.len() as u64);
    assert_eq!(done.left, told.iter().filter(|finding| !finding.remedy.mended()).count() as u64);
    let by_place = |f: Finding| (f.location, (f.trouble.as_str(), f.remedy.as_str()));
    (told.into_iter().map(by_place).collect(), done)
}

fn adopting() -> Mode {
    Mode::Adopt(agent(AGENT))
}

/// A store in which files were edited, removed and added without the service.
async fn meddled() -> (ServiceFixture, Service) {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for n in 1..=4 {
        fixture.put(&server, &Layer::Base, &lesson(n), &format!("lesson {n}")).await;
    }
    fixture.put(&server, &overlay("ann"), &lesson(1), "mine").await;
    fixture.idle(&server).await;
    let at = |n| location(&key(&fixture.book, &lesson(n), &Layer::Base));
    fixture.tree.tamper(&at(1), Some(b"edited by hand"));
    fixture.tree.tamper(&at(2), None);
    fixture.tree.tamper(&at(7), Some(b"put there by hand"));
    fixture.tree.tamper(&format!("books/{}/content/Notes.txt", fixture.book), Some(b"notes"));
    fixture
        .tree
        .tamper(&format!("books/{}/content/01-Part/01-Chapter/09-bad.md", fixture.book), Some(b"\xff\xfe"));
    (fixture, server)
}

fn place(fixture: &ServiceFixture, n: usize) -> String {
    key(&fixture.book, &lesson(n), &Layer::Base).location()
}

#[tokio::test]
async fn a_store_nobody_meddled_with_has_no_drift() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), &long("large")).await;
    fixture.put(&server, &overlay("ann"), &lesson(1), "mine").await;
    fixture.idle(&server).await;
    for mode in [Mode::Report, Mode::Repair, adopting()] {
        let (told, done) = run(&server, mode).await;
        assert_eq!(told, BTreeMap::new());
        assert_eq!((done.files, done.objects, done.pending), (2, 1, 0));
    }
    assert_eq!(server.quick_scan().await.unwrap(), panaversity_service::reconcile::QuickScan::default());
}

#[tokio::test]
async fn a_report_names_what_is_wrong_and_touches_nothing() {
    let (fixture, server) = meddled().await;
    let before = (fixture.tree.files(), entries(&fixture).await);
    for _ in 0..2 {
        let (told, done) = run(&server, Mode::Report).await;
        let due = BTreeMap::from([
            (place(&fixture, 1), ("different", "left")),
            (place(&fixture, 2), ("missing", "left")),
            (place(&fixture, 7), ("stranger", "left")),
            (format!("{}/content/Notes.txt", fixture.book), ("stranger", "left")),
            (format!("{}/content/01-Part/01-Chapter/09-bad.md", fixture.book), ("stranger", "left")),
        ]);
        assert_eq!((told, done.left), (due, 5));
    }
    assert_eq!((fixture.tree.files(), entries(&fixture).await), before);
    let glance = server.quick_scan().await.unwrap();
    assert_eq!((glance.foreign, glance.changed), (3, 1), "names and sizes tell this much");
}

#[tokio::test]
async fn r2_a_repair_makes_the_tree_what_the_journal_says_and_keeps_what_it_moves() {
    let (fixture, server) = meddled().await;
    let (told, done) = run(&server, Mode::Repair).await;
    assert_eq!((told.len(), done.left), (5, 0));
    assert_eq!(told[&place(&fixture, 1)].1, "republished");
    assert_eq!(told[&place(&fixture, 7)].1, "set_aside");
    fixture.idle(&server).await;
    assert_eq!(hold(&fixture, &server).await.len(), 5);
    let mut aside: Vec<_> = fixture.tree.aside().into_values().collect();
    aside.sort();
    assert_eq!(aside, [b"edited by hand".as_slice(), b"notes", b"put there by hand", b"\xff\xfe"]);
    assert_eq!(run(&server, Mode::Report).await.1.found, 0);
}

#[tokio::test]
async fn r7_what_is_adopted_is_a_write_of_whoever_adopted_it() {
    let (fixture, server) = meddled().await;
    let (told, done) = run(&server, adopting()).await;
    let due = BTreeMap::from([
        (place(&fixture, 1), ("different", "adopted")),
        (place(&fixture, 2), ("missing", "left")),
        (place(&fixture, 7), ("stranger", "adopted")),
        (format!("{}/content/Notes.txt", fixture.book), ("stranger", "refused")),
        (format!("{}/content/01-Part/01-Chapter/09-bad.md", fixture.book), ("stranger", "refused")),
    ]);
    assert_eq!((told, done.left), (due, 3));
    assert_eq!(fixture.holds(&Layer::Base, &lesson(1)).await, Some(ContentHash::of(b"edited by hand")));
    assert_eq!(fixture.holds(&Layer::Base, &lesson(7)).await, Some(ContentHash::of(b"put there by hand")));
    let log = entries(&fixture).await;
    let edit = log.iter().find(|entry| {
        entry.path == lesson(1).as_str()
            && entry.old_content_hash == Some(ContentHash::of(b"lesson 1").to_string())
            && entry.new_content_hash == Some(ContentHash::of(b"edited by hand").to_string())
    });
    assert_eq!(edit.unwrap().agent_id, AGENT);
    assert!(log.iter().any(|entry| entry.status == "refused" && entry.path.ends_with("Notes.txt")));
    for bad in ["", "system"] {
        assert!(AgentId::parse(bad).is_err());
    }
    run(&server, Mode::Repair).await;
    fixture.idle(&server).await;
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn a_file_that_is_not_adopted_is_told_even_if_the_refusal_cannot_be_recorded() {
    let (fixture, server) = meddled().await;
    fixture.faults.reset();
    let due = run(&server, adopting()).await.0;
    let calls = fixture.faults.calls();
    let appends: Vec<_> = (0..calls.len()).filter(|call| calls[*call] == "journal.append").collect();
    assert_eq!(appends.len(), 2, "{calls:?}");
    for append in appends {
        let (fixture, server) = meddled().await;
        fixture.faults.reset();
        fixture.faults.arm(append, FaultMode::FailBefore);
        let told = run(&server, adopting()).await.0;
        assert_eq!(fixture.faults.calls()[append], "journal.append");
        assert_eq!(told.into_values().collect::<Vec<_>>(), due.values().copied().collect::<Vec<_>>());
        let log = entries(&fixture).await;
        assert_eq!(log.iter().filter(|entry| entry.status == "refused").count(), 1, "the other one is");
    }
}

/// A late publication leaves an old version in the tree; adopting it would undo the newest one.
#[tokio::test]
async fn i9_an_older_version_in_the_tree_is_not_adopted() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    for text in ["first", "second"] {
        fixture.put(&server, &Layer::Base, &lesson(1), text).await;
    }
    fixture.idle(&server).await;
    fixture.tree.tamper(&location(&key(&fixture.book, &lesson(1), &Layer::Base)), Some(b"first"));
    let (told, _) = run(&server, adopting()).await;
    assert_eq!(told, BTreeMap::from([(place(&fixture, 1), ("different", "left"))]));
    assert_eq!(fixture.holds(&Layer::Base, &lesson(1)).await, Some(ContentHash::of(b"second")));
    run(&server, Mode::Repair).await;
    fixture.idle(&server).await;
    hold(&fixture, &server).await;
}

#[tokio::test]
async fn what_is_on_its_way_is_left_alone() {
    let (fixture, server) = meddled().await;
    let files = [1, 2].map(|n| key(&fixture.book, &lesson(n), &Layer::Base));
    fixture.journal.republish(&files).await.unwrap();
    let (told, done) = run(&server, Mode::Report).await;
    assert!(!told.contains_key(&place(&fixture, 1)) && !told.contains_key(&place(&fixture, 2)));
    assert_eq!((done.pending, done.left), (2, 3));
    assert_eq!(fixture.journal.pending().await.unwrap(), 2);
}

#[tokio::test]
async fn overlays_that_are_not_published_are_not_missed() {
    let fixture = ServiceFixture::new();
    let mut limits = LIMITS;
    limits.publish_overlays = false;
    let server = fixture.server_over(fixture.tree.clone(), limits);
    fixture.put(&server, &overlay("ann"), &lesson(1), "mine").await;
    fixture.idle(&server).await;
    assert_eq!(run(&server, Mode::Repair).await.1.found, 0);
    assert!(fixture.tree.files().is_empty());
}

#[tokio::test]
async fn r2_damaged_objects_are_named_and_restored_from_the_published_copy() {
    let damages: [(&str, Option<&[u8]>); 3] =
        [("object_missing", None), ("object_wrong_size", Some(b"short")), ("object_corrupt", Some(b""))];
    for (trouble, damage) in damages {
        let fixture = ServiceFixture::new();
        let (server, text) = (fixture.server(), long("whole"));
        let hash = fixture.put(&server, &Layer::Base, &lesson(1), &text).await.hash.unwrap();
        fixture.idle(&server).await;
        let scrambled: Vec<u8> = text.bytes().rev().collect();
        let bytes = damage.map(|bytes| if bytes.is_empty() { scrambled } else { bytes.to_vec() });
        fixture.objects.damage(hash, bytes);
        let (told, _) = run(&server, Mode::Report).await;
        assert_eq!(told, BTreeMap::from([(hash.to_string(), (trouble, "left"))]));
        assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(1), "and health shows it");
        let (told, done) = run(&server, Mode::Repair).await;
        assert_eq!((told[&hash.to_string()], done.left), ((trouble, "restored"), 0));
        assert_eq!(server.health(PROBE_TIMEOUT).await.damaged_blobs, Some(0));
        hold(&fixture, &server).await;
    }
}

#[tokio::test]
async fn an_object_without_a_copy_and_one_nobody_knows_are_told() {
    let fixture = ServiceFixture::new();
    let (server, text) = (fixture.server(), long("whole"));
    let hash = fixture.put(&server, &Layer::Base, &lesson(1), &text).await.hash.unwrap();
    fixture.idle(&server).await;
    fixture.objects.damage(hash, None);
    fixture.tree.tamper(&format!("books/{}", place(&fixture, 1)), None);
    let unknown = ContentHash::of(b"unknown");
    fixture.objects.damage(unknown, Some(b"unknown".to_vec()));
    let (told, done) = run(&server, Mode::Repair).await;
    assert_eq!(told[&hash.to_string()], ("object_missing", "left"));
    assert_eq!(told[&place(&fixture, 1)], ("missing", "left"), "its bytes are nowhere");
    assert_eq!((told[&unknown.to_string()], done.left), (("object_unknown", "left_to_gc"), 2));
}

#[tokio::test]
async fn r4_a_large_asset_is_adopted_part_by_part() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    fixture.put(&server, &Layer::Base, &lesson(1), "text").await;
    fixture.idle(&server).await;
    let (video, odd) = (path("static/videos/a.mp4"), format!("books/{}/static/fonts/x.woff", fixture.book));
    let bytes: Vec<u8> = (0..3 << 20).map(|n: u32| u8::try_from(n % 251).unwrap()).collect();
    fixture.tree.tamper(&location(&key(&fixture.book, &video, &Layer::Base)), Some(&bytes));
    fixture.tree.tamper(&odd, Some(&bytes[1..]));
    fixture.faults.reset();
    let (told, _) = run(&server, adopting()).await;
    let place = key(&fixture.book, &video, &Layer::Base).location();
    assert_eq!(told[&place], ("stranger", "adopted"));
    let calls = fixture.faults.calls();
    assert!(calls.contains(&"staging.promote") && !calls.contains(&"objects.put"), "{calls:?}");
    assert!(fixture.read(&server, &Layer::Base, &video).await.unwrap() == Some(bytes));
    assert_eq!(fixture.objects.contents().len(), 1, "what is refused leaves nothing");
    fixture.tree.tamper(&odd, None);
    fixture.idle(&server).await;
    hold(&fixture, &server).await;
}
