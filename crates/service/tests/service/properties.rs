//! Random walks through the service, compared with a map (R2, R3, R5), while calls fail at random (I9,
//! I10); at the end of each all invariants hold (R6, R7).

use std::future::Future;

use panaversity_model::precondition::Effect;
use panaversity_model::{ContentHash, Error, ErrorCode, Layer};
use panaversity_service::Service;
use panaversity_testkit::FaultMode;
use panaversity_testkit::samples::lesson;
use proptest::prelude::*;

use crate::fixture::{Files, ServiceFixture, layers, long};
use crate::invariants::hold;

/// Runs a walk to its end on one thread.
pub(crate) fn block_on(walk: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(walk);
}

/// Kind of the expected hash that the caller gives.
#[derive(Debug, Clone, Copy)]
enum Claim {
    Nothing,
    Truth,
    Fiction,
}

#[derive(Debug, Clone)]
enum Action {
    Write(u8, Claim),
    Delete,
    Read,
    /// Not a call: time passes, the publisher runs, a clean point is reached.
    Publish,
}

#[derive(Debug, Clone)]
struct Step {
    layer: usize,
    file: usize,
    act: Action,
    /// The failing port call and its failure; most steps have fewer calls than that.
    breaks: Option<(usize, FaultMode)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = prop_oneof![
        1 => Just(Claim::Nothing),
        3 => Just(Claim::Truth),
        1 => Just(Claim::Fiction),
    ];
    let act = prop_oneof![
        5 => (0..6u8, claim).prop_map(|(text, claim)| Action::Write(text, claim)),
        2 => Just(Action::Delete),
        2 => Just(Action::Read),
        1 => Just(Action::Publish),
    ];
    let breaks = prop::option::weighted(0.4, (0..8usize, prop::sample::select(&FaultMode::ALL[..])));
    let step = (0..3usize, 0..3usize, act, breaks).prop_map(|(layer, file, act, breaks)| Step {
        layer,
        file,
        act,
        breaks,
    });
    prop::collection::vec(step, 1..30)
}

/// A text, every second one beyond the inline limit; files share them.
fn text(n: u8) -> String {
    if n.is_multiple_of(2) { format!("text {n}") } else { long(&format!("text {n}")) }
}

/// Expected result of a write by the map: its effect, or the code of the refusal.
fn due(held: Option<&Vec<u8>>, new: &str, claim: Claim) -> Result<Effect, ErrorCode> {
    match (held, claim) {
        (Some(held), _) if held == new.as_bytes() => Ok(Effect::Unchanged),
        (Some(_), Claim::Truth) => Ok(Effect::Updated),
        (Some(_), Claim::Nothing) => Err(ErrorCode::HashRequired),
        (Some(_), Claim::Fiction) => Err(ErrorCode::Conflict),
        (None, Claim::Fiction) => Err(ErrorCode::NotFound),
        (None, Claim::Nothing | Claim::Truth) => Ok(Effect::Created),
    }
}

/// True for an error caused by an injected failure.
fn broke(error: &Error) -> bool {
    matches!(error, Error::Broken(fault) if fault.detail.contains("was made to"))
}

/// State of a walk: the expected files, and the current server.
struct Walk {
    fixture: ServiceFixture,
    server: Service,
    files: Files,
    born: bool,
}

impl Walk {
    fn new() -> Self {
        let fixture = ServiceFixture::new();
        let server = fixture.server();
        Self { fixture, server, files: Files::new(), born: false }
    }

    async fn step(&mut self, step: &Step) {
        let layer = layers()[step.layer].clone();
        self.fixture.faults.reset();
        if let Some((call, failure)) = step.breaks {
            self.fixture.faults.arm(call, failure);
        }
        match step.act {
            Action::Write(n, claim) => self.write(&layer, step.file, &text(n), claim).await,
            Action::Delete => self.delete(&layer, step.file).await,
            Action::Read => self.read(&layer, step.file).await,
            Action::Publish => {
                self.fixture.expire_leases();
                let _ = self.server.publish_pending().await;
                let _ = self.server.fsync_checkpoint().await;
            }
        }
        self.fixture.quiet().await;
        self.go_on(step).await;
    }

    /// After a process died another takes over, with the power cut as well.
    async fn go_on(&mut self, step: &Step) {
        let Some((call, failure)) = step.breaks else { return };
        let reached = self.fixture.faults.calls().len() > call;
        self.fixture.faults.revive();
        if reached && matches!(failure, FaultMode::VanishBefore | FaultMode::VanishAfter) {
            self.fixture.tree.cut_power();
            self.server = self.fixture.server();
            self.server.recheck_published().await.unwrap();
        }
    }

    async fn write(&mut self, layer: &Layer, file: usize, new: &str, claim: Claim) {
        let key = (layer.clone(), lesson(file));
        let held = self.files.get(&key);
        let expected = match claim {
            Claim::Nothing => None,
            Claim::Truth => held.map(|held| ContentHash::of(held)),
            Claim::Fiction => Some(ContentHash::of(b"fiction")),
        };
        let due = due(held, new, claim);
        let answer = self.fixture.write(&self.server, layer, &key.1, new, expected).await;
        let after = Some(new.as_bytes().to_vec());
        match answer {
            Ok(written) => {
                assert_eq!(Ok(written.effect), due);
                assert_eq!(written.hash.unwrap(), ContentHash::of(new.as_bytes()));
                self.learn(key, after);
            }
            Err(error) if broke(&error) => self.look(key, after, &error).await,
            Err(error) => assert_eq!(Err(error.code()), due),
        }
    }

    async fn delete(&mut self, layer: &Layer, file: usize) {
        let key = (layer.clone(), lesson(file));
        match self.fixture.delete(&self.server, layer, &key.1).await {
            Ok(existed) => {
                assert_eq!(existed, self.files.contains_key(&key), "R3: deleting again is success");
                self.learn(key, None);
            }
            Err(error) if broke(&error) => self.look(key, None, &error).await,
            Err(error) => assert_eq!((error.code(), self.born), (ErrorCode::BookNotFound, false)),
        }
    }

    async fn read(&self, layer: &Layer, file: usize) {
        let at = |layer: &Layer| self.files.get(&(layer.clone(), lesson(file)));
        let due = at(layer).or_else(|| at(&Layer::Base));
        match self.fixture.read(&self.server, layer, &lesson(file)).await {
            Ok(read) => assert_eq!(read.as_ref(), due, "R2, R5: {layer} reads its own, else the base"),
            Err(error) => assert!(broke(&error), "{error:?}"),
        }
    }

    /// After a fault: checks that nothing happened, unless the fault says that the outcome is unknown.
    async fn look(
        &mut self,
        key: (Layer, panaversity_model::BookPath),
        after: Option<Vec<u8>>,
        error: &Error,
    ) {
        let unknown = matches!(error, Error::Broken(fault) if fault.outcome_unknown);
        let holds = self.fixture.holds(&key.0, &key.1).await;
        let before = self.files.get(&key).map(|held| ContentHash::of(held));
        if unknown && holds == after.as_ref().map(|after| ContentHash::of(after)) {
            self.learn(key, after);
        } else {
            assert_eq!(holds, before, "I9: a failed change left nothing");
        }
    }

    fn learn(&mut self, key: (Layer, panaversity_model::BookPath), holds: Option<Vec<u8>>) {
        match holds {
            Some(bytes) => {
                self.born = true;
                self.files.insert(key, bytes);
            }
            None => _ = self.files.remove(&key),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn i9_r2_r5_through_any_walk_with_any_failures_the_service_holds_what_a_map_would(steps in steps()) {
        block_on(async {
            let mut walk = Walk::new();
            for step in &steps {
                walk.step(step).await;
            }
            walk.fixture.idle(&walk.server).await;
            assert_eq!(hold(&walk.fixture, &walk.server).await, walk.files);
        });
    }
}
