//! `plan_build`: a plan is exactly a state of the book, whatever is written meanwhile and whichever
//! server is asked (the manifest cache is never stale).

use std::collections::BTreeMap;

use panaversity_model::manifest::Manifest;
use panaversity_model::ports::Manifests;
use panaversity_model::{ContentHash, Error, ErrorCode, Layer};
use panaversity_service::Service;
use panaversity_service::plan::{PAGE_FILES, Plan, PlanPosition};
use panaversity_testkit::samples::{lesson, overlay};
use proptest::prelude::*;

use crate::fixture::{ServiceFixture, create_book, reading, want};
use crate::properties::block_on;

/// Paths and hashes.
type State = BTreeMap<String, ContentHash>;

/// The book's state, freshly read, with its manifest's hash.
async fn fresh(fixture: &ServiceFixture) -> (ContentHash, State) {
    let (_, rows) = fixture.journal.rows(&fixture.book, &Layer::Base, 0).await.unwrap();
    let manifest = Manifest { files: rows.into_iter().map(|row| (row.path, row.item)).collect() };
    let state = manifest.files.iter().map(|(path, item)| (path.clone(), item.hash)).collect();
    (manifest.hash(), state)
}

/// A page of a plan.
async fn page(
    fixture: &ServiceFixture,
    server: &Service,
    target: Option<ContentHash>,
    after: Option<PlanPosition>,
) -> Result<Plan, Error> {
    reading(server, async |call| {
        let access = call.may_read(fixture.book.clone(), Layer::Base)?;
        call.plan_build(&access, target, after).await
    })
    .await
}

/// All pages of a plan.
async fn planned(fixture: &ServiceFixture, server: &Service, target: Option<ContentHash>) -> (Plan, usize) {
    let mut plan = page(fixture, server, target, None).await.unwrap();
    let mut pages = 1;
    while let Some(after) = plan.next.take() {
        let page = page(fixture, server, target, Some(after)).await.unwrap();
        assert_eq!((page.manifest, page.changed, page.total), (plan.manifest, plan.changed, plan.total));
        plan.files.extend(page.files);
        plan.next = page.next;
        pages += 1;
    }
    (plan, pages)
}

/// Applies a plan to a state.
fn applied(plan: &Plan, mut state: State) -> State {
    for file in &plan.files {
        assert_eq!(state.get(&file.path).copied(), file.target.map(|item| item.hash));
        match file.current {
            Some(item) => state.insert(file.path.clone(), item.hash),
            None => state.remove(&file.path),
        };
    }
    state
}

#[derive(Debug, Clone)]
enum PlanStep {
    Write(usize, u8),
    Delete(usize),
    /// Deletes one file and writes another: row count and version sum may be equal.
    Swap(usize, usize),
    Private(usize),
    Plan,
}

fn steps() -> impl Strategy<Value = Vec<(bool, PlanStep)>> {
    let step = prop_oneof![
        3 => (0..5usize, 0..3u8).prop_map(|(file, text)| PlanStep::Write(file, text)),
        2 => (0..5usize).prop_map(PlanStep::Delete),
        1 => (0..5usize, 0..5usize).prop_map(|(gone, new)| PlanStep::Swap(gone, new)),
        1 => (0..5usize).prop_map(PlanStep::Private),
        4 => Just(PlanStep::Plan),
    ];
    prop::collection::vec((any::<bool>(), step), 1..40)
}

async fn step(fixture: &ServiceFixture, server: &Service, step: &PlanStep) {
    match step {
        PlanStep::Write(file, text) => {
            fixture.put(server, &Layer::Base, &lesson(*file), &text.to_string()).await;
        }
        PlanStep::Delete(file) => _ = fixture.delete(server, &Layer::Base, &lesson(*file)).await.unwrap(),
        PlanStep::Swap(gone, new) => {
            fixture.delete(server, &Layer::Base, &lesson(*gone)).await.unwrap();
            fixture.put(server, &Layer::Base, &lesson(*new), "swapped in").await;
        }
        PlanStep::Private(file) => _ = fixture.put(server, &overlay("ann"), &lesson(*file), "private").await,
        PlanStep::Plan => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn r2_a_plan_turns_any_planned_state_into_the_book_whichever_server_plans_it(steps in steps()) {
        block_on(async {
            let fixture = ServiceFixture::new();
            let servers = [fixture.server(), fixture.server()];
            create_book(&servers[0], &fixture.book, None).await.unwrap();
            let mut states = vec![(None, State::new())];
            for (which, next) in &steps {
                let server = &servers[usize::from(*which)];
                step(&fixture, server, next).await;
                if !matches!(next, PlanStep::Plan) {
                    continue;
                }
                let (hash, now) = fresh(&fixture).await;
                for (target, state) in &states {
                    let (plan, _) = planned(&fixture, server, *target).await;
                    assert_eq!((plan.manifest, plan.total, plan.target_unknown), (hash, now.len(), false));
                    assert_eq!(plan.changed, plan.files.len());
                    assert_eq!(applied(&plan, state.clone()), now);
                }
                states.push((Some(hash), now));
            }
        });
    }
}

#[tokio::test]
async fn a_plan_goes_on_with_the_state_it_began_with_while_agents_write() {
    let fixture = ServiceFixture::new();
    let (server, other) = (fixture.server(), fixture.server());
    let set = (0..=PAGE_FILES).map(|n| want(&lesson(n), Some(&format!("text {n}")), None)).collect();
    fixture.change(&server, &Layer::Base, set).await;
    let (hash, state) = fresh(&fixture).await;
    let first = page(&fixture, &server, None, None).await.unwrap();
    assert_eq!((first.manifest, first.files.len(), first.changed), (hash, PAGE_FILES, PAGE_FILES + 1));
    let last = first.files.last().unwrap().path.clone();
    let rest = state.keys().rfind(|path| **path > last).unwrap().clone();
    fixture.delete(&other, &Layer::Base, &panaversity_testkit::samples::path(&rest)).await.unwrap();
    let second = page(&fixture, &other, None, first.next.clone()).await.unwrap();
    assert_eq!((second.manifest, second.next.clone()), (hash, None));
    assert_eq!(second.files.iter().map(|file| &file.path).collect::<Vec<_>>(), [&rest]);
    let whole = Plan { files: [first.files, second.files].concat(), ..second };
    assert_eq!(applied(&whole, State::new()), state);

    let (now, pages) = planned(&fixture, &other, Some(hash)).await;
    assert_eq!((now.changed, pages, now.target_unknown), (1, 1, false));
}

#[tokio::test]
async fn a_plan_from_a_state_nobody_kept_lists_everything_and_says_so() {
    let fixture = ServiceFixture::new();
    let server = fixture.server();
    let unknown = page(&fixture, &server, None, None).await;
    assert_eq!(unknown.unwrap_err().code(), ErrorCode::BookNotFound);
    fixture.put(&server, &Layer::Base, &lesson(1), "a").await;
    let (plan, _) = planned(&fixture, &server, Some(ContentHash::of(b"nothing"))).await;
    assert!(plan.target_unknown);
    assert_eq!((plan.changed, plan.total), (1, 1));
    let lost = PlanPosition { manifest: ContentHash::of(b"nothing"), path: String::new() };
    let resumed = page(&fixture, &server, None, Some(lost)).await;
    assert_eq!(resumed.unwrap_err().code(), ErrorCode::InvalidArgument);
}
