//! The crash matrix of a completed upload (I9): whichever call fails, the asset and the upload's row
//! agree, and completing it again gives the answer of a run without failures.

use panaversity_model::change::Applied;
use panaversity_model::ids::UploadId;
use panaversity_model::ports::Uploads;
use panaversity_model::{BookPath, ContentHash, Error, Layer};
use panaversity_service::uploads::Announce;
use panaversity_testkit::samples::path;

use super::{Cell, cells};
use crate::fixture::{Files, ServiceFixture, long};
use crate::invariants::{changes_recorded, hold};

/// Initial content of the asset, and the uploaded content.
#[derive(Clone, Copy)]
struct UploadScene {
    name: &'static str,
    before: Option<&'static str>,
    text: &'static str,
}

const SCENES: [UploadScene; 4] = [
    UploadScene { name: "create", before: None, text: "new" },
    UploadScene { name: "replace", before: Some("old"), text: "new" },
    UploadScene { name: "the same", before: Some("same"), text: "same" },
    UploadScene { name: "create a small one", before: None, text: "" },
];

fn asset() -> BookPath {
    path("static/videos/a.mp4")
}

impl UploadScene {
    fn bytes(self) -> Vec<u8> {
        if self.text.is_empty() { b"small".to_vec() } else { long(self.text).into_bytes() }
    }

    /// Fresh fakes, with the upload in the upload store.
    async fn set(self) -> (ServiceFixture, UploadId) {
        let fixture = ServiceFixture::new();
        let server = fixture.server();
        let mut expected = None;
        if let Some(before) = self.before {
            let content = crate::fixture::want(&asset(), Some(&long(before)), None);
            fixture.change(&server, &Layer::Base, vec![content]).await;
            expected = Some(ContentHash::of(long(before).as_bytes()));
        }
        let size = self.bytes().len() as u64;
        let announce =
            |access| Announce { access, path: asset(), size, sha256: None, expected, own_route: true };
        let id = fixture.begin(&server, announce).await;
        fixture.upload_store.plant(id, &self.bytes());
        fixture.idle(&server).await;
        server.fsync_checkpoint().await.unwrap();
        (fixture, id)
    }
}

struct UploadCourse {
    calls: Vec<&'static str>,
    answer: Applied,
    before: Files,
    after: Files,
    recorded: usize,
}

async fn undisturbed(scene: UploadScene, fixture: ServiceFixture, id: UploadId) -> UploadCourse {
    let server = fixture.server();
    let before = hold(&fixture, &server).await;
    fixture.faults.reset();
    let answer = fixture.complete(&server, id).await.unwrap();
    fixture.quiet().await;
    let calls = fixture.faults.calls();
    assert!(fixture.upload_store.contents().is_empty(), "{}: what has arrived is removed", scene.name);
    let after = hold(&fixture, &server).await;
    assert_eq!(after[&(Layer::Base, asset())], scene.bytes(), "{}", scene.name);
    UploadCourse { calls, answer, before, after, recorded: changes_recorded(&fixture).await }
}

async fn disturbed(
    scene: UploadScene,
    (fixture, id): (ServiceFixture, UploadId),
    course: &UploadCourse,
    (call, failure, recovery): Cell,
) {
    let name = course.calls[call];
    let at = format!("{}: call {call}, {name}: {failure:?}, then {recovery:?}", scene.name);
    let server = fixture.server();
    fixture.faults.reset();
    fixture.faults.arm(call, failure);
    let answer = fixture.complete(&server, id).await;
    fixture.quiet().await;
    assert!(fixture.faults.calls().len() > call, "{at}: the call was reached");

    let server = recovery.recover(&fixture, server).await;
    let left = hold(&fixture, &server).await;
    let done = fixture.journal.upload(id).await.unwrap().unwrap().done;
    match &answer {
        Ok(kept) => {
            assert_eq!(*kept, course.answer, "{at}");
            assert!(done.is_some(), "{at}: I9: an acknowledged upload is done");
        }
        Err(Error::Broken(fault)) if fault.outcome_unknown => assert_eq!(name, "journal.commit", "{at}"),
        Err(Error::Broken(_)) => assert!(done.is_none(), "{at}: I9: a failed one left nothing"),
        Err(Error::Refused(refusal)) => panic!("{at}: {refusal}"),
    }
    let due = if done.is_some() { &course.after } else { &course.before };
    assert_eq!(left, *due, "{at}: I9: the asset and the upload's row say the same");

    let again = fixture.complete(&server, id).await.unwrap_or_else(|error| panic!("{at}: then {error}"));
    assert_eq!(again, course.answer, "{at}: the first answer, whoever has given it");
    fixture.idle(&server).await;
    assert_eq!(hold(&fixture, &server).await, course.after, "{at}: after repeating it");
    assert_eq!(changes_recorded(&fixture).await, course.recorded, "{at}: R6: the change is recorded once");
    fixture.journal.age(std::time::Duration::from_hours(48));
    server.remove_abandoned(false).await.unwrap();
    assert!(fixture.upload_store.contents().is_empty(), "{at}: nothing is left when it is over");
}

#[tokio::test]
async fn i9_an_upload_is_completed_once_or_stays_open_whichever_call_breaks() {
    let mut count = 0;
    for scene in SCENES {
        let (set, id) = scene.set().await;
        let course = undisturbed(scene, set.copy(), id).await;
        for cell in cells(course.calls.len()) {
            disturbed(scene, (set.copy(), id), &course, cell).await;
            count += 1;
        }
    }
    assert!(count >= 500, "the matrix has only {count} cells");
}
