//! [`Chains`]: the shapes that pods have, each a chain of the kernel, with the addresses and ports that they speak of.

use std::collections::HashMap;
use std::sync::Arc;

use super::changes::{Chain, Line, Side};
use super::groups::Group;
use super::interned::Interned;
use super::policy::Direction;
use super::ranges::{PortRange, Range};
use super::shape::{Pass, Shape, Who};
use crate::tables::Mirror;

#[derive(Debug)]
pub(super) struct Chains {
    shapes: Interned<(Direction, Arc<Shape>)>,
    by_number: HashMap<u32, (Direction, Arc<Shape>)>,
    block_numbers: Interned<Arc<[Range]>>,
    port_numbers: Interned<Arc<[PortRange]>>,
    pub blocks: Mirror<(u32, Range), ()>,
    pub numbers: Mirror<(u32, PortRange), ()>,
    new: Vec<Chain>,
    gone: Vec<String>,
    /// Chains that the kernel had.
    found: Vec<String>,
    first: u32,
}

/// The name of a chain.
pub(super) fn name(direction: Direction, number: u32) -> String {
    match direction {
        Direction::Ingress => format!("ingress-{number}"),
        Direction::Egress => format!("egress-{number}"),
    }
}

/// The number of the chain of this name; none of one that no address leads to.
pub(super) fn number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("ingress-").or_else(|| name.strip_prefix("egress-"))?;
    number.parse().ok()
}

impl Chains {
    /// With what the kernel has, and numbers from `first` on.
    pub fn new(
        blocks: Mirror<(u32, Range), ()>,
        numbers: Mirror<(u32, PortRange), ()>,
        found: Vec<String>,
        first: u32,
    ) -> Self {
        Self {
            shapes: Interned::from(first),
            by_number: HashMap::new(),
            block_numbers: Interned::from(first),
            port_numbers: Interned::from(first),
            blocks,
            numbers,
            new: Vec::new(),
            gone: Vec::new(),
            found,
            first,
        }
    }

    /// The number of the chain of a shape, for one more pod. `group` returns a group's number, for one more user.
    pub fn take(
        &mut self,
        direction: Direction,
        shape: Shape,
        mut group: impl FnMut(&Arc<Group>) -> u32,
    ) -> u32 {
        let shape = Arc::new(shape);
        let (number, is_new) = self.shapes.take((direction, shape.clone()));
        if is_new {
            let lines = shape.iter().map(|pass| self.line(pass, &mut group)).collect();
            self.new.push(Chain { direction, number, lines });
            self.by_number.insert(number, (direction, shape));
        }
        number
    }

    fn line(&mut self, pass: &Pass, group: &mut impl FnMut(&Arc<Group>) -> u32) -> Line {
        let who = match &pass.who {
            Who::Everybody => Side::Everybody,
            Who::Group(one) if one.names.is_empty() => Side::Members(group(one)),
            Who::Group(one) => Side::MemberPorts(group(one)),
            Who::Blocks(ranges) => {
                let (number, _) = self.block_numbers.take(ranges.clone());
                ranges.iter().for_each(|range| self.blocks.set((number, *range), ()));
                Side::Blocks(number)
            }
        };
        let ports = pass.ports.as_ref().map(|ports| {
            let (number, _) = self.port_numbers.take(ports.clone());
            ports.iter().for_each(|range| self.numbers.set((number, *range), ()));
            number
        });
        Line { who, ports }
    }

    /// One pod less. `group` gives back one use of a group.
    pub fn release(&mut self, number: u32, mut group: impl FnMut(&Arc<Group>)) {
        let Some(named) = self.by_number.get(&number) else { return };
        if self.shapes.release(named).is_none() {
            return;
        }
        let Some((direction, shape)) = self.by_number.remove(&number) else { return };
        let unmade = self.new.iter().position(|chain| chain.number == number);
        match unmade {
            Some(unmade) => drop(self.new.swap_remove(unmade)),
            None => self.gone.push(name(direction, number)),
        }
        for pass in shape.iter() {
            match &pass.who {
                Who::Everybody => {}
                Who::Group(one) => group(one),
                Who::Blocks(ranges) => {
                    if let Some(number) = self.block_numbers.release(ranges) {
                        ranges.iter().for_each(|range| self.blocks.remove(&(number, *range)));
                    }
                }
            }
            if let Some(ports) = &pass.ports
                && let Some(number) = self.port_numbers.release(ports)
            {
                ports.iter().for_each(|range| self.numbers.remove(&(number, *range)));
            }
        }
    }

    /// Chains to be made.
    pub fn take_new(&mut self) -> Vec<Chain> {
        std::mem::take(&mut self.new)
    }

    /// Names of chains to be removed.
    pub fn take_gone(&mut self) -> Vec<String> {
        std::mem::take(&mut self.gone)
    }

    /// Removes what the kernel had.
    pub fn sweep(&mut self) {
        self.gone.append(&mut self.found);
        let first = self.first;
        self.blocks.retain(|(number, _)| *number >= first);
        self.numbers.retain(|(number, _)| *number >= first);
    }

    /// The first number that the kernel did not have.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The kernel knows what was taken.
    pub fn settle(&mut self) {
        self.shapes.settle();
        self.block_numbers.settle();
        self.port_numbers.settle();
    }

    pub fn len(&self) -> usize {
        self.shapes.len()
    }
}
