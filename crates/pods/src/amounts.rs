//! [`Amounts`]: amounts of resources as whole numbers.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

/// An amount of every resource: CPU in thousandths of a core, memory and storage in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    /// Extended resources and huge pages, by name.
    pub scalar: BTreeMap<String, i64>,
}

impl Amounts {
    /// From a resource list. A value that is not a quantity counts as 0; the API server accepts no such list.
    pub fn from_list(list: &BTreeMap<String, ApiQuantity>) -> Self {
        let parsed = list.iter().filter_map(|(name, quantity)| Some((name.as_str(), parse(quantity)?)));
        Self::from_quantities(parsed)
    }

    /// `pods` is a number of pods rather than an amount that one of them asks for, and is left out.
    pub(crate) fn from_quantities<'a>(list: impl IntoIterator<Item = (&'a str, Quantity)>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            match name {
                "cpu" => amounts.cpu_milli = quantity.milli_value(),
                "memory" => amounts.memory_bytes = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_bytes = quantity.value(),
                "pods" => {}
                other => {
                    amounts.scalar.insert(other.to_owned(), quantity.value());
                }
            }
        }
        amounts
    }

    /// Amounts are capped rather than wrapped: a sum of what users wrote can exceed an `i64`.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.saturating_add(other.ephemeral_bytes);
        for (name, amount) in &other.scalar {
            let sum = match self.scalar.get_mut(name) {
                Some(sum) => sum,
                None => self.scalar.entry(name.clone()).or_insert(0),
            };
            *sum = sum.saturating_add(*amount);
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.saturating_sub(other.ephemeral_bytes);
        for (name, amount) in &other.scalar {
            if let Some(held) = self.scalar.get_mut(name) {
                *held = held.saturating_sub(*amount);
                if *held == 0 {
                    self.scalar.remove(name);
                }
            }
        }
    }

    /// The amount of an extended resource or of huge pages; 0 where there is none.
    pub fn scalar(&self, name: &str) -> i64 {
        self.scalar.get(name).copied().unwrap_or(0)
    }
}

/// The amount a quantity on the wire is; `None` where it is no quantity.
pub(crate) fn parse(quantity: &ApiQuantity) -> Option<Quantity> {
    quantity.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let list =
            [("cpu", "1500m"), ("memory", "1Gi"), ("example.com/gpu", "2"), ("pods", "3"), ("odd", "x")];
        let list = list.into_iter().map(|(name, q)| (name.to_owned(), ApiQuantity(q.to_owned()))).collect();
        let asked = Amounts::from_list(&list);
        assert_eq!(
            (asked.cpu_milli, asked.memory_bytes, asked.scalar("example.com/gpu")),
            (1500, 1 << 30, 2)
        );
        assert_eq!(asked.scalar.len(), 1);
        let mut held = Amounts::default();
        held.add(&asked);
        held.add(&asked);
        held.subtract(&asked);
        assert_eq!(held, asked);
        held.subtract(&asked);
        assert_eq!(held, Amounts::default());
    }
}
