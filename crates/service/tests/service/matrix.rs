//! The crash matrix (I9, I10): every port call of every kind of change fails before its effect, fails
//! after it, and kills the process before and after it; then the store is recovered in every way that
//! fits, and all invariants must hold. The same for every port call of the publisher.

mod gc;
mod publisher;
mod scenes;
mod uploads;

use panaversity_model::ports::Books;
use panaversity_model::precondition::Effect;
use panaversity_model::{ContentHash, Error, ErrorCode};
use panaversity_service::Service;
use panaversity_testkit::FaultMode;

use crate::fixture::{Files, ServiceFixture, wanted_bytes};
use crate::invariants::{changes_recorded, hold};
use scenes::Scene;

/// Recovery after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The server continues.
    Same,
    /// The process was killed; another server takes over.
    Restart,
    /// The power was cut: files that the tree had not synced are lost as well.
    PowerCut,
}

impl Recovery {
    const ALL: [Self; 3] = [Self::Same, Self::Restart, Self::PowerCut];

    /// False for a killed process that would continue.
    fn fits(self, failure: FaultMode) -> bool {
        self != Self::Same || matches!(failure, FaultMode::FailBefore | FaultMode::FailAfter)
    }

    /// Recovers and waits for idleness; returns the server that works afterwards.
    pub(crate) async fn recover(self, fixture: &ServiceFixture, server: Service) -> Service {
        fixture.faults.revive();
        if self == Self::PowerCut {
            fixture.tree.cut_power();
        }
        let server = if self == Self::Same { server } else { fixture.server() };
        if self != Self::Same {
            server.recheck_published().await.unwrap();
        }
        fixture.idle(&server).await;
        server
    }
}

/// The failing call, its failure, and the recovery.
type Cell = (usize, FaultMode, Recovery);

/// All cells of a matrix over this number of calls.
fn cells(calls: usize) -> impl Iterator<Item = Cell> {
    (0..calls).flat_map(|call| {
        FaultMode::ALL.into_iter().flat_map(move |failure| {
            let fitting = Recovery::ALL.into_iter().filter(move |recovery| recovery.fits(failure));
            fitting.map(move |recovery| (call, failure, recovery))
        })
    })
}

/// A run without failures: its port calls, its result, and the files before and after.
struct Course {
    calls: Vec<&'static str>,
    answer: Result<Vec<Effect>, Error>,
    before: Files,
    after: Files,
    /// Number of changes in the log, before and after.
    recorded: (usize, usize),
}

async fn undisturbed(scene: &Scene, fixture: ServiceFixture) -> Course {
    let server = fixture.server();
    let before = hold(&fixture, &server).await;
    let recorded_before = changes_recorded(&fixture).await;
    fixture.faults.reset();
    let answer = scene.ask(&fixture, &server).await;
    fixture.quiet().await;
    let calls = fixture.faults.calls();
    let pending = server.pending_publications().await.unwrap();
    assert_eq!(pending, 0, "{}: the request itself publishes", scene.name);
    let after = hold(&fixture, &server).await;
    let recorded = (recorded_before, changes_recorded(&fixture).await);
    assert_eq!(after, scene.wished(&before), "{}", scene.name);
    Course { calls, answer, before, after, recorded }
}

/// Runs one cell.
async fn disturbed(scene: &Scene, fixture: ServiceFixture, course: &Course, (call, failure, recovery): Cell) {
    let name = course.calls[call];
    let at = format!("{}: call {call}, {name}: {failure:?}, then {recovery:?}", scene.name);
    let server = fixture.server();
    fixture.faults.reset();
    fixture.faults.arm(call, failure);
    let answer = scene.ask(&fixture, &server).await;
    fixture.quiet().await;
    assert!(fixture.faults.calls().len() > call, "{at}: the call was reached");

    let server = recovery.recover(&fixture, server).await;
    let left = hold(&fixture, &server).await;
    let commit = course.calls.iter().position(|name| *name == "journal.commit");
    match &answer {
        Ok(_) => {
            assert_eq!(answer, course.answer, "{at}: the answer is that of an undisturbed run");
            assert_eq!(left, course.after, "{at}: I9: what was acknowledged is there, every member of it");
        }
        Err(Error::Broken(fault)) if fault.outcome_unknown => {
            assert!(left == course.before || left == course.after, "{at}: I10: all or nothing: {left:?}");
            assert_eq!(name, "journal.commit", "{at}: only a commit leaves its outcome open");
            assert_eq!(left, course.after, "{at}: this one was carried out");
        }
        Err(_) => {
            assert_eq!(left, course.before, "{at}: I9: what was refused or failed left nothing");
            let book = fixture.journal.book(&fixture.book).await.unwrap();
            assert_eq!(book.is_some(), scene.book_exists(), "{at}: nor a book");
        }
    }
    if commit.is_some_and(|commit| call > commit) {
        assert_eq!(answer, course.answer, "{at}: nobody's answer depends on the publisher");
    }

    let again = scene.ask(&fixture, &server).await;
    fixture.quiet().await;
    match (&again, &course.answer) {
        (Ok(again), Ok(first)) => {
            let applied_before = left == course.after && course.before != course.after;
            let due: Vec<_> =
                first.iter().map(|effect| if applied_before { Effect::Unchanged } else { *effect }).collect();
            assert_eq!(*again, due, "{at}: repeating the call is safe");
        }
        _ => assert_eq!(again, course.answer, "{at}: repeating the call gives the same refusal"),
    }
    fixture.idle(&server).await;
    assert_eq!(hold(&fixture, &server).await, course.after, "{at}: after repeating it");
    assert_eq!(changes_recorded(&fixture).await, course.recorded.1, "{at}: R6: each change is recorded once");
}

async fn matrix(scenes: Vec<Scene>, least: usize) {
    let mut count = 0;
    for scene in scenes {
        let set = scene.set().await;
        let course = undisturbed(&scene, set.copy()).await;
        let due = course.recorded.0 + scene.changes(&course.before);
        assert_eq!(course.recorded.1, due, "{}: one entry for each change", scene.name);
        assert_eq!(course.calls, scene.calls, "{}: the protocol's calls, in its order", scene.name);
        for cell in cells(course.calls.len()) {
            disturbed(&scene, set.copy(), &course, cell).await;
            count += 1;
        }
    }
    assert!(count >= least, "the matrix has only {count} cells");
}

#[tokio::test]
async fn i9_a_change_of_one_file_survives_or_leaves_nothing_whichever_call_breaks() {
    matrix(scenes::of_one_file(), 520).await;
}

#[tokio::test]
async fn i10_a_set_is_all_or_nothing_whichever_call_breaks() {
    matrix(scenes::of_sets(), 320).await;
}

#[tokio::test]
async fn i9_what_is_unchanged_or_refused_leaves_nothing_whichever_call_breaks() {
    matrix(scenes::without_effect(), 210).await;
}

#[tokio::test]
async fn a_failed_storage_is_named_to_the_caller_before_the_commit_and_kept_from_him_after() {
    let scene = scenes::large_creation();
    let course = undisturbed(&scene, scene.set().await).await;
    for (name, code) in [("objects.put", Some(ErrorCode::StorageUnavailable)), ("tree.put", None)] {
        let call = course.calls.iter().position(|call| *call == name).unwrap();
        let fixture = scene.set().await;
        let server = fixture.server();
        fixture.faults.reset();
        fixture.faults.arm(call, FaultMode::FailBefore);
        let answer = scene.ask(&fixture, &server).await;
        assert_eq!(answer.as_ref().err().map(Error::code), code, "{name}");
        let held = fixture.holds(&scene.layer, &scene.wanted[0].path).await;
        let due = code.is_none().then(|| ContentHash::of(wanted_bytes(&scene.wanted[0]).unwrap()));
        assert_eq!(held, due, "{name}");
    }
}
