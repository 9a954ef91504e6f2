//! [`Remembered`]: answers that are given again, byte by byte, while nothing that they were made from has changed.
//!
//! Most questions of a cluster are few, asked again and again. The key is the message as it came, without its number, so
//! that the answer to it is the same in all that a client may notice: the name's letters, the flags, EDNS.

use std::collections::HashMap;

use super::handler::{Answered, Changes};
use super::metrics::Counted;

/// Longer questions are not remembered, in bytes. Names have at most 255.
const LONGEST: usize = 320;
/// How many answers are remembered; beyond that all are forgotten. With the longest of all they hold 4 MB.
const MOST: usize = 4096;
/// The number of a message stands before all else.
const NUMBER: usize = 2;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Remembered {
    answers: HashMap<Box<[u8]>, Known>,
    /// What the answers were made from.
    made_from: Changes,
}

struct Known {
    bytes: Box<[u8]>,
    counted: Counted,
    /// Metrics tell clients apart by it.
    is_ipv4: bool,
}

impl Remembered {
    /// Forgets what may have changed.
    pub fn renew(&mut self, now: Changes) {
        if self.made_from != now {
            self.answers.clear();
            self.made_from = now;
        }
    }

    /// Writes the answer to a message behind `answers`, with the message's number. Returns what it counts in.
    pub fn answer(&self, message: &[u8], is_ipv4: bool, answers: &mut Vec<u8>) -> Option<&Counted> {
        let (number, question) = message.split_at_checked(NUMBER)?;
        let known = self.answers.get(question).filter(|known| known.is_ipv4 == is_ipv4)?;
        answers.extend_from_slice(number);
        answers.extend_from_slice(&known.bytes);
        Some(&known.counted)
    }

    /// Keeps an answer that lasts, unless something changed since `made_from` was read, before it was made.
    pub fn keep(&mut self, message: &[u8], is_ipv4: bool, answered: &mut Answered, made_from: Changes) {
        if made_from != self.made_from || message.len() > LONGEST {
            return;
        }
        let Some(counted) = answered.lasting.take() else { return };
        let (Some(question), Some(bytes)) = (message.get(NUMBER..), answered.bytes.get(NUMBER..)) else {
            return;
        };
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(question.into(), Known { bytes: bytes.into(), counted, is_ipv4 });
    }
}
