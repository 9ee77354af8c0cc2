//! Scenes of the crash matrix: initial files, a requested change, and the port calls that the commit
//! protocol makes for it. A scene whose calls change must be reviewed.

use panaversity_model::audit::Operation;
use panaversity_model::change::Change;
use panaversity_model::precondition::Effect;
use panaversity_model::{BookPath, Error, Layer};
use panaversity_service::commit::NewContent;
use panaversity_service::write::Write;
use panaversity_service::{Call, Service};
use panaversity_testkit::samples::{lesson, overlay, path};

use crate::fixture::{Files, ServiceFixture, long, want, wanted_bytes};

/// Use case that makes the request.
#[derive(Clone, Copy)]
enum EntryPoint {
    Write,
    Delete,
    Set,
}

/// A scene of the matrix.
pub(super) struct Scene {
    pub(super) name: &'static str,
    entry: EntryPoint,
    pub(super) layer: Layer,
    /// Initial files; they are published, and a clean point covers them.
    before: Vec<(Layer, BookPath, String)>,
    pub(super) wanted: Vec<Change<NewContent>>,
    /// True if the request must be refused.
    refused: bool,
    pub(super) calls: Vec<&'static str>,
}

impl Scene {
    /// Fresh fakes with the initial files.
    pub(super) async fn set(&self) -> ServiceFixture {
        let fixture = ServiceFixture::new();
        let server = fixture.server();
        for (layer, path, text) in &self.before {
            fixture.put(&server, layer, path, text).await;
        }
        fixture.idle(&server).await;
        server.fsync_checkpoint().await.unwrap();
        fixture
    }

    /// Makes the request, as an endpoint does.
    pub(super) async fn ask(&self, fixture: &ServiceFixture, server: &Service) -> Result<Vec<Effect>, Error> {
        let one = &self.wanted[0];
        let (operation, path) = match self.entry {
            EntryPoint::Write => (Operation::Write, Some(&one.path)),
            EntryPoint::Delete => (Operation::Delete, Some(&one.path)),
            EntryPoint::Set => (Operation::Write, None),
        };
        let use_case = async |call: &mut Call| self.act(fixture, call).await;
        fixture.run(server, operation, path, &self.layer, use_case).await.result
    }

    async fn act(&self, fixture: &ServiceFixture, call: &mut Call) -> Result<Vec<Effect>, Error> {
        let one = &self.wanted[0];
        let access = call.may_write(fixture.book.clone(), self.layer.clone())?;
        match self.entry {
            EntryPoint::Write => {
                let write = Write {
                    access,
                    path: one.path.clone(),
                    content: String::from_utf8(wanted_bytes(one).map(<[u8]>::to_vec).unwrap()).unwrap(),
                    expected: one.expected,
                };
                call.write_content(write).await.map(|written| vec![written.effect])
            }
            EntryPoint::Delete => {
                let deleted = call.delete_content(&access, &one.path, one.expected).await;
                deleted.map(|existed| vec![if existed { Effect::Deleted } else { Effect::Unchanged }])
            }
            EntryPoint::Set => {
                let set = call.change(&access, self.wanted.clone()).await;
                set.map(|set| set.files.iter().map(|file| file.effect).collect())
            }
        }
    }

    /// Expected files after the request is carried out, or rightly refused.
    pub(super) fn wished(&self, before: &Files) -> Files {
        let mut files = before.clone();
        for want in self.wanted.iter().filter(|_| !self.refused) {
            let key = (self.layer.clone(), want.path.clone());
            match wanted_bytes(want) {
                Some(bytes) => files.insert(key, bytes.to_vec()),
                None => files.remove(&key),
            };
        }
        files
    }

    /// Number of files that the request changes.
    pub(super) fn changes(&self, before: &Files) -> usize {
        let held = |want: &Change<NewContent>| {
            before.get(&(self.layer.clone(), want.path.clone())).map(Vec::as_slice)
        };
        self.wanted.iter().filter(|want| !self.refused && held(want) != wanted_bytes(want)).count()
    }

    pub(super) fn book_exists(&self) -> bool {
        !self.before.is_empty()
    }
}

fn scene(
    name: &'static str,
    entry: EntryPoint,
    before: &[(&BookPath, &str)],
    wanted: Vec<Change<NewContent>>,
    calls: &[&'static str],
) -> Scene {
    let before =
        before.iter().map(|(path, text)| (Layer::Base, (*path).clone(), (*text).to_owned())).collect();
    Scene { name, entry, layer: Layer::Base, before, wanted, refused: false, calls: calls.to_vec() }
}

const CHECK: [&str; 2] = ["journal.book", "journal.current_metadata"];
const PUT: [&str; 3] = ["journal.commit", "tree.put", "journal.acknowledge"];
const REMOVE: [&str; 3] = ["journal.commit", "tree.remove", "journal.acknowledge"];
const STAGE: [&str; 3] = ["journal.blobs", "journal.stage", "objects.put"];

pub(super) fn large_creation() -> Scene {
    let calls = [&CHECK[..], &STAGE, &PUT].concat();
    scene(
        "a large creation",
        EntryPoint::Write,
        &[],
        vec![want(&lesson(1), Some(&long("new")), None)],
        &calls,
    )
}

pub(super) fn of_one_file() -> Vec<Scene> {
    let (one, text, large) = (lesson(1), "small", long("large"));
    let write = [&["journal.book"][..], &PUT].concat();
    let write_large = [&CHECK[..], &STAGE, &PUT].concat();
    let delete = [&["journal.book"][..], &REMOVE].concat();
    let gone = |expected| vec![want(&one, None, expected)];
    let held = |new: &str, old| vec![want(&one, Some(new), old)];
    let mut scenes = vec![
        scene("a creation", EntryPoint::Write, &[], held(text, None), &write),
        large_creation(),
        scene("an update", EntryPoint::Write, &[(&one, text)], held("other", Some(text)), &write),
        scene(
            "a large update",
            EntryPoint::Write,
            &[(&one, text)],
            held(&long("other"), Some(text)),
            &write_large,
        ),
        scene("a deletion", EntryPoint::Delete, &[(&one, text)], gone(None), &delete),
        scene(
            "a deletion of a large file",
            EntryPoint::Delete,
            &[(&one, &large)],
            gone(Some(&large)),
            &delete,
        ),
    ];
    let above = |mut scene: Scene, mine: Option<&str>| {
        scene.layer = overlay("ann");
        scene.before.extend(mine.map(|mine| (overlay("ann"), one.clone(), mine.to_owned())));
        scene
    };
    let base = [(&one, text)];
    scenes.extend([
        above(scene("an overlay's creation", EntryPoint::Write, &base, held("mine", None), &write), None),
        above(
            scene("a large overlay", EntryPoint::Write, &base, held(&long("mine"), None), &write_large),
            None,
        ),
        above(
            scene("an overlay's update", EntryPoint::Write, &base, held("b", Some("a")), &write),
            Some("a"),
        ),
        above(scene("an overlay's deletion", EntryPoint::Delete, &base, gone(None), &delete), Some("a")),
    ]);
    scenes
}

pub(super) fn of_sets() -> Vec<Scene> {
    let (large, larger) = (long("as it was"), long("as it will be"));
    let before = [
        (&lesson(2), "to be updated"),
        (&lesson(3), "to be deleted"),
        (&lesson(4), "unchanged"),
        (&lesson(5), large.as_str()),
        (&lesson(9), "not concerned"),
    ];
    let wanted = vec![
        want(&lesson(1), Some("new"), None),
        want(&lesson(2), Some(&larger), Some("to be updated")),
        want(&lesson(3), None, Some("to be deleted")),
        want(&lesson(4), Some("unchanged"), None),
        want(&lesson(5), Some(&large), None),
        want(&lesson(6), None, None),
    ];
    let published = [
        "tree.put",
        "journal.acknowledge",
        "tree.put",
        "journal.acknowledge",
        "tree.remove",
        "journal.acknowledge",
    ];
    let calls = [
        &["journal.book"],
        &["journal.current_metadata"][..],
        &STAGE,
        &STAGE,
        &["journal.commit"],
        &published,
    ];
    let everything = scene("a set of everything", EntryPoint::Set, &before, wanted, &calls.concat());
    let mut overlaid = scene("a set of an overlay", EntryPoint::Set, &before[..1], Vec::new(), &[]);
    overlaid.layer = overlay("bob");
    overlaid.wanted = vec![want(&lesson(2), Some("mine"), None), want(&lesson(7), Some(&larger), None)];
    let calls =
        [&["journal.book"], &["journal.current_metadata"][..], &STAGE, &["journal.commit"], &published[..4]];
    overlaid.calls = calls.concat();
    let born = vec![want(&lesson(1), Some("a"), None), want(&lesson(2), Some("b"), None)];
    let calls = [&["journal.book"], &["journal.current_metadata"][..], &["journal.commit"], &published[..4]];
    vec![
        everything,
        overlaid,
        scene("a set that creates the book", EntryPoint::Set, &[], born, &calls.concat()),
    ]
}

pub(super) fn without_effect() -> Vec<Scene> {
    let (one, large) = (lesson(1), long("large"));
    // The commit records it.
    let unchanged = ["journal.book", "journal.commit"];
    let conflict = ["journal.book", "journal.commit", "journal.append"];
    let present = [&CHECK[..], &["objects.stat", "journal.append"]].concat();
    let same = |text: &str| vec![want(&one, Some(text), None)];
    let mut scenes = vec![
        scene("the same again", EntryPoint::Write, &[(&one, "a")], same("a"), &unchanged),
        scene("the same large file again", EntryPoint::Write, &[(&one, &large)], same(&large), &present),
        scene(
            "R3: a deletion again",
            EntryPoint::Delete,
            &[(&lesson(2), "a")],
            vec![want(&one, None, None)],
            &unchanged,
        ),
    ];
    let refused = |mut scene: Scene| {
        scene.refused = true;
        scene
    };
    let late = [want(&lesson(3), Some(&large), None), want(&one, Some("b"), Some("not a"))].to_vec();
    let check = [&["journal.book"], &["journal.current_metadata"][..], &["journal.append"]].concat();
    scenes.push(refused(scene(
        "a hash that is wanting",
        EntryPoint::Write,
        &[(&one, "a")],
        same("b"),
        &conflict,
    )));
    scenes.push(refused(scene("a set with one conflict", EntryPoint::Set, &[(&one, "a")], late, &check)));
    // Only the commit checks for conflicting names.
    let twin = path(&one.as_str().replace("lesson", "LESSON"));
    let twins = vec![want(&lesson(3), Some("c"), None), want(&twin, Some(&large), None)];
    let calls =
        [&["journal.book"], &["journal.current_metadata"][..], &STAGE, &["journal.commit", "journal.append"]]
            .concat();
    scenes.push(refused(scene("a set the commit refuses", EntryPoint::Set, &[(&one, "a")], twins, &calls)));
    scenes
}

#[test]
fn a_scene_that_is_to_change_something_does() {
    let scenes = of_one_file().into_iter().chain(of_sets());
    for scene in scenes {
        let before: Files = scene
            .before
            .iter()
            .map(|(layer, path, text)| ((layer.clone(), path.clone()), text.clone().into_bytes()))
            .collect();
        assert!(scene.changes(&before) > 0, "{}", scene.name);
        assert_ne!(scene.wished(&before), before, "{}", scene.name);
    }
}
