//! Random walks: an engine compared, step by step, with a map (R2, R5, R6). The walks are the same
//! in every run.

use std::collections::BTreeMap;

use panaversity_model::change::Verdict;
use panaversity_model::precondition::{TargetContent, decide};
use panaversity_model::{BookPath, ContentHash, Layer};

use super::Setup;
use super::fixture::{ContractFixture, unpack};
use crate::samples::{change, inline, lesson, overlay, view};

/// Pseudorandom generator (xorshift); its numbers only have to be scattered.
struct Dice(u64);

impl Dice {
    fn random_below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Expected content of each file of each layer, and every version it ever had.
#[derive(Default)]
struct Model {
    files: BTreeMap<(Layer, BookPath), Vec<u8>>,
    versions: BTreeMap<(Layer, BookPath), Vec<Vec<u8>>>,
}

impl Model {
    fn shown(&self, layer: &Layer, path: &BookPath) -> Option<&Vec<u8>> {
        let at = |layer: &Layer| self.files.get(&(layer.clone(), path.clone()));
        at(layer).or_else(|| at(&Layer::Base))
    }
}

/// R2, R5: after any sequence of writes and deletions, refused ones included, every view reads the
/// content of the map, and every version ever written stays readable.
pub async fn r2_a_random_walk_reads_what_a_map_would_hold(setup: &Setup) {
    for seed in [0x9e37_79b9_7f4a_7c15, 0x2545_f491_4f6c_dd1d] {
        let fixture = ContractFixture::new(setup);
        let (mut dice, mut model) = (Dice(seed), Model::default());
        for step in 0..60 {
            walk(&fixture, &mut dice, &mut model).await;
            compare(&fixture, &model, &format!("seed {seed:x}, step {step}")).await;
        }
        compare_versions(&fixture, &model).await;
        assert_eq!(fixture.breaks().await, vec![]);
    }
}

async fn walk(fixture: &ContractFixture, dice: &mut Dice, model: &mut Model) {
    let layer = [Layer::Base, overlay("ann")][dice.random_below(2)].clone();
    let mut changes = Vec::new();
    let mut after = model.files.clone();
    let mut refused = false;
    // One file, or two different ones.
    let first = dice.random_below(3);
    for n in 0..=dice.random_below(2) {
        let path = lesson((first + n) % 3);
        let place = (layer.clone(), path.clone());
        let now = model.files.get(&place).map(|bytes| ContentHash::of(bytes));
        let bytes = vec![b'a' + u8::try_from(dice.random_below(5)).unwrap(); 1 + dice.random_below(3)];
        let blob = (dice.random_below(4) > 0).then(|| inline(&bytes));
        let expected = [now, now, now, None, Some(ContentHash::of(b"stale"))][dice.random_below(5)];
        let change = change(&path, blob, expected);
        refused |= decide(now, change.target(), expected).is_err();
        match change.target() {
            TargetContent::Present(_) => after.insert(place, bytes),
            TargetContent::Absent => after.remove(&place),
        };
        changes.push(change);
    }
    let verdict = fixture.try_commit(&layer, changes).await.unwrap();
    assert_eq!(matches!(verdict, Verdict::Refused(..)), refused, "{verdict:?}");
    if !refused {
        for (place, bytes) in &after {
            let versions = model.versions.entry(place.clone()).or_default();
            if !versions.contains(bytes) {
                versions.push(bytes.clone());
            }
        }
        model.files = after;
    }
}

async fn compare(fixture: &ContractFixture, model: &Model, when: &str) {
    for layer in [Layer::Base, overlay("ann"), overlay("ben")] {
        let mut shown = Vec::new();
        for path in (0..3).map(lesson) {
            let read = fixture.read(&view(&layer), &path).await;
            assert_eq!(read.as_ref(), model.shown(&layer, &path), "{when}: {path} for {layer}");
            shown.extend(read.map(|_| path));
        }
        assert_eq!(fixture.paths(&view(&layer)).await, shown, "{when}: list for {layer}");
    }
}

async fn compare_versions(fixture: &ContractFixture, model: &Model) {
    for ((layer, path), versions) in &model.versions {
        for bytes in versions {
            let found = fixture.version(&view(layer), path, ContentHash::of(bytes)).await;
            assert_eq!(found.as_ref().map(unpack).as_ref(), Some(bytes), "{path} in {layer}");
        }
    }
}
