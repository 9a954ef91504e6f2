//! [`Neighbours`]: the rules by which placed pods affect the pod to be placed, upstream's PodTopologySpread and
//! InterPodAffinity, evaluated from stored figures.

use crate::crowds::{Crowds, Sight};
use crate::nodes::Nodes;
use crate::pod::Shape;
use crate::profile::{Filter, Profile};
use crate::relations::Constraint;
use crate::topology::NOWHERE;
use crate::verdict::{Rule, Verdict};

/// A spread constraint with the present figures of its pods.
#[derive(Debug)]
pub struct Even<'n> {
    pub constraint: &'n Constraint,
    pub sight: Sight<'n>,
    /// The largest number of pods that a place may have before the new pod is added.
    most: i64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Neighbours<'n> {
    crowds: &'n Crowds,
    near: Vec<Sight<'n>>,
    /// No pod exists that the pod must be near to, but the pod is selected by its own terms: the first such pod may go
    /// anywhere.
    is_first: bool,
    apart: Vec<Sight<'n>>,
    repelling: Vec<Sight<'n>>,
    even: Vec<Even<'n>>,
    /// For scores: the pods that the pod prefers to be near to, and the pods that prefer to be near to it, by weight.
    pub attraction: Vec<(i64, Sight<'n>)>,
    /// For scores: the soft spread constraints.
    pub rather_even: Vec<Even<'n>>,
}

impl<'n> Neighbours<'n> {
    /// For a pod that the table attends to ([`Nodes::attend`]).
    pub fn of(shape: &'n Shape, nodes: &'n Nodes) -> Self {
        let crowds = &nodes.crowds;
        let profile = &shape.needs.profile;
        let affinity = profile.filters.has(Filter::InterPodAffinity);
        let has_preferences = shape.wishes.as_ref().is_some_and(|wishes| !wishes.preferred.is_empty());
        let mut attraction = Vec::new();
        if profile.weights.pod_affinity != 0 && (profile.others_preferences || has_preferences) {
            let weight = profile.required_affinity_weight;
            attraction.extend(crowds.requiring(&shape.identity).into_iter().map(|sight| (weight, sight)));
            attraction.extend(crowds.attracting(&shape.identity).into_iter().map(|sight| (1, sight)));
        }
        let mut found = Self {
            crowds,
            near: Vec::new(),
            is_first: false,
            apart: Vec::new(),
            repelling: if affinity { crowds.repelling(&shape.identity) } else { Vec::new() },
            even: Vec::new(),
            attraction,
            rather_even: Vec::new(),
        };
        let Some(wishes) = &shape.wishes else { return found };
        let mut sights = crowds.attended(wishes).into_iter();
        found.near = sights.by_ref().take(wishes.near.len()).collect();
        found.apart = sights.by_ref().take(wishes.apart.len()).collect();
        let weights = wishes.preferred.iter().map(|(weight, _)| *weight);
        found.attraction.extend(weights.zip(sights.by_ref()));
        let even = |(constraint, sight): (&'n Constraint, Sight<'n>)| {
            let places = crowds.topology.size(sight.scope);
            let emptiest = if places < constraint.min_places { 0 } else { sight.figure.least(places) };
            let itself = i64::from(crowds.counts_itself(constraint, &shape.identity));
            Even { constraint, sight, most: constraint.max_skew + emptiest - itself }
        };
        found.even = wishes.even.iter().zip(sights.by_ref()).map(even).collect();
        found.rather_even = wishes.rather_even.iter().zip(sights).map(even).collect();
        let nobody = found.near.iter().all(|sight| sight.figure.is_empty());
        found.is_first = nobody && crowds.is_near_itself(wishes, &shape.identity);
        found.leave_out(profile);
        found
    }

    /// Rules that the profile does without say nothing.
    fn leave_out(&mut self, profile: &Profile) {
        if !profile.filters.has(Filter::InterPodAffinity) {
            self.near.clear();
            self.apart.clear();
        }
        if !profile.filters.has(Filter::PodTopologySpread) {
            self.even.clear();
        }
        if profile.weights.pod_affinity == 0 {
            self.attraction.clear();
        }
        if profile.weights.spread == 0 {
            self.rather_even.clear();
        }
    }

    /// Whether no rule about other pods applies: every node suits as far as these rules are concerned.
    pub fn is_silent(&self) -> bool {
        self.near.is_empty() && self.apart.is_empty() && self.repelling.is_empty() && self.even.is_empty()
    }

    /// The number that counts for a node; `None` where the node is at no place.
    pub fn at(&self, sight: Sight<'_>, slot: usize) -> Option<i64> {
        match self.crowds.topology.place(sight.scope, slot) {
            NOWHERE => None,
            place => Some(sight.figure.at(place)),
        }
    }

    /// The place of a node in the sense of a constraint, [`NOWHERE`] for none.
    pub fn place(&self, even: &Even<'_>, slot: usize) -> u32 {
        self.crowds.topology.place(even.sight.scope, slot)
    }

    /// The first rule's refusal, or the verdict that the node suits.
    pub fn check(&self, slot: usize) -> Verdict {
        for even in &self.even {
            match self.at(even.sight, slot) {
                None => return Verdict::no(Rule::NoPlace),
                Some(there) if there > even.most => return Verdict::no(Rule::Spread),
                Some(_) => {}
            }
        }
        let anybody = |sight: &Sight<'_>| self.at(*sight, slot).is_some_and(|there| there > 0);
        let near = |sight: &Sight<'_>| self.at(*sight, slot).is_some_and(|there| self.is_first || there > 0);
        if !self.near.iter().all(near) {
            Verdict::no(Rule::Near)
        } else if self.apart.iter().any(anybody) {
            Verdict::no(Rule::Apart)
        } else if self.repelling.iter().any(anybody) {
            Verdict::no(Rule::Repelled)
        } else {
            Verdict::FITS
        }
    }
}
