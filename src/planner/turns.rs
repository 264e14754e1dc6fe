//! Whose build is looked at next within a pass: the flows' turns, on a copy of their tags.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::share::{Flow, Shares};
use super::snapshot::{QueueKey, Snapshot};

/// The flows that have builds left in this pass, and the first build of each of their classes.
pub(super) struct Turns<'a> {
    snapshot: &'a Snapshot,
    shares: Shares,
    /// Heads of classes with their places, by flow.
    heads: BTreeMap<Flow, BTreeSet<(QueueKey, usize)>>,
    /// Flows by tag, then by their first build. An entry may be out of date; then it is put right.
    order: BinaryHeap<Reverse<(u128, QueueKey, Flow)>>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            shares: snapshot.shares.clone(),
            heads: BTreeMap::new(),
            order: BinaryHeap::new(),
        }
    }

    /// The next build of a class is looked at when it is its flow's turn.
    pub(super) fn enter(&mut self, flow: Flow, key: QueueKey, place: usize) {
        let heads = self.heads.entry(flow).or_default();
        heads.insert((key, place));
        if heads.first() == Some(&(key, place)) {
            let tag = self.shares.tag(flow);
            self.order.push(Reverse((tag, key, flow)));
        }
    }

    /// A build of the flow was placed.
    pub(super) fn charge(&mut self, flow: Flow) {
        self.shares.charge(flow, self.snapshot.weight(flow));
        self.put_in_order(flow);
    }

    /// The build whose turn it is, with the place of its class.
    pub(super) fn next(&mut self) -> Option<(QueueKey, usize)> {
        while let Some(Reverse((tag, key, flow))) = self.order.pop() {
            let Some(heads) = self.heads.get_mut(&flow) else {
                continue;
            };
            let first = heads.first().copied();
            let is_true = tag == self.shares.tag(flow);
            match first {
                Some((head, place)) if head == key && is_true => {
                    heads.pop_first();
                    self.put_in_order(flow);
                    return Some((head, place));
                }
                // There is an entry for the true one, or it is made here.
                Some((head, _)) if !is_true && head == key => self.put_in_order(flow),
                Some(_) | None => {}
            }
        }
        None
    }

    fn put_in_order(&mut self, flow: Flow) {
        let first = self.heads.get(&flow).and_then(|heads| heads.first());
        if let Some((key, _)) = first {
            let tag = self.shares.tag(flow);
            self.order.push(Reverse((tag, *key, flow)));
        }
    }
}
