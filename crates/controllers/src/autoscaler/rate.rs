//! How fast the number of pods may change: stabilization and scaling policies. Pure. Upstream: `horizontal.go`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior as Behavior,
};

/// How long a wish for more pods keeps the number up, where nothing else is said (seconds).
const DOWN_WINDOW_S: i32 = 300;
/// The longest window and period that the API lets in.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// How much is remembered of each: autoscalers that are changed all the time are looked at as often.
const REMEMBERED: usize = 1024;

/// What is remembered of an autoscaler between rounds; lost with the process, as upstream's.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub wishes: Vec<(Timestamp, i32)>,
    /// By how many pods the number was raised …
    pub raised: Vec<(Timestamp, i32)>,
    /// … and lowered.
    pub lowered: Vec<(Timestamp, i32)>,
}

impl Memory {
    /// Remembers a round, which changed the number of pods by `change`.
    pub fn add(&mut self, wishes: &[i32], change: i32, now: Timestamp) {
        self.wishes.extend(wishes.iter().map(|wish| (now, *wish)));
        match change {
            0 => {}
            1.. => self.raised.push((now, change)),
            _ => self.lowered.push((now, -change)),
        }
        for list in [&mut self.wishes, &mut self.raised, &mut self.lowered] {
            list.retain(|(at, _)| now.duration_since(*at) <= LONGEST);
            list.drain(..list.len().saturating_sub(REMEMBERED));
        }
    }
}

/// Between what the number must stay, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub min: i32,
    pub max: i32,
    pub current: i32,
}

/// A reason and a message, of a condition.
pub(super) type Why = (&'static str, &'static str);

/// The number there shall be, and what kept it from being the wish.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub replicas: i32,
    /// Of `AbleToScale`.
    pub stabilized: Why,
    /// Of `ScalingLimited`, and whether that is so.
    pub limited: (bool, Why),
}

const READY: Why = ("ReadyForNewScale", "recommended size matches current size");
const HIGHER: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const LOWER: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const WITHIN: Why = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_MANY: Why = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: Why = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_FAST_UP: Why =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: Why =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

/// What comes of a wish.
pub(super) fn limit(
    behavior: Option<&Behavior>,
    memory: &Memory,
    bounds: Bounds,
    wish: i32,
    now: Timestamp,
) -> Limited {
    let up = Rules::up(behavior);
    let down = Rules::down(behavior);
    let stable = if behavior.is_none() {
        // Without a behavior only falling is delayed, and what was wished at the window's edge counts.
        recent(&memory.wishes, DOWN_WINDOW_S, true, now).fold(wish, i32::max)
    } else if wish >= bounds.current {
        recent(&memory.wishes, up.window_s, false, now).fold(wish, i32::min)
    } else {
        recent(&memory.wishes, down.window_s, false, now).fold(wish, i32::max)
    };
    let stabilized = match stable {
        _ if stable == wish => READY,
        _ if behavior.is_some() && wish >= bounds.current => LOWER,
        _ => HIGHER,
    };
    let (replicas, why) = match behavior {
        None => simple(bounds, stable),
        Some(_) => by_rules(bounds, stable, (&up, &memory.raised), (&down, &memory.lowered), now),
    };
    Limited { replicas, stabilized, limited: (replicas != stable, why) }
}

fn recent(list: &[(Timestamp, i32)], window_s: i32, edge: bool, now: Timestamp) -> impl Iterator<Item = i32> {
    let window = SignedDuration::from_secs(i64::from(window_s));
    list.iter().filter_map(move |(at, number)| {
        let age = now.duration_since(*at);
        (age < window || (edge && age == window)).then_some(*number)
    })
}

/// Without a behavior the number at most doubles, or grows to four.
fn simple(bounds: Bounds, wish: i32) -> (i32, Why) {
    let fastest = bounds.current.saturating_mul(2).max(4);
    let (most, why) = if bounds.max > fastest { (fastest, TOO_FAST_UP) } else { (bounds.max, TOO_MANY) };
    if wish < bounds.min {
        (bounds.min, TOO_FEW)
    } else if wish > most {
        (most, why)
    } else {
        (wish, WITHIN)
    }
}

fn by_rules(
    bounds: Bounds,
    wish: i32,
    (up, raised): (&Rules<'_>, &[(Timestamp, i32)]),
    (down, lowered): (&Rules<'_>, &[(Timestamp, i32)]),
    now: Timestamp,
) -> (i32, Why) {
    if wish > bounds.current {
        let fastest = up.most(bounds.current, raised, now).max(bounds.current);
        let (most, why) = if bounds.max > fastest { (fastest, TOO_FAST_UP) } else { (bounds.max, TOO_MANY) };
        if wish > most {
            return (most, why);
        }
    } else if wish < bounds.current {
        let fastest = down.least(bounds.current, lowered, now).min(bounds.current);
        let (least, why) =
            if bounds.min < fastest { (fastest, TOO_FAST_DOWN) } else { (bounds.min, TOO_FEW) };
        if wish < least {
            return (least, why);
        }
    }
    (wish, WITHIN)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Select {
    Most,
    Least,
    Disabled,
}

#[derive(Clone, Copy)]
enum Step {
    Pods(i32),
    Percent(i32),
}

/// The rules of one direction, with the defaults that the API fills in.
struct Rules<'a> {
    window_s: i32,
    select: Select,
    given: Option<&'a [HPAScalingPolicy]>,
    /// What holds where none is given: so much in 15 s.
    usual: &'static [Step],
}

impl<'a> Rules<'a> {
    fn up(behavior: Option<&'a Behavior>) -> Self {
        let rules = behavior.and_then(|behavior| behavior.scale_up.as_ref());
        Self::of(rules, 0, &[Step::Pods(4), Step::Percent(100)])
    }

    fn down(behavior: Option<&'a Behavior>) -> Self {
        let rules = behavior.and_then(|behavior| behavior.scale_down.as_ref());
        Self::of(rules, DOWN_WINDOW_S, &[Step::Percent(100)])
    }

    fn of(rules: Option<&'a HPAScalingRules>, window_s: i32, usual: &'static [Step]) -> Self {
        let select = match rules.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Min") => Select::Least,
            Some("Disabled") => Select::Disabled,
            _ => Select::Most,
        };
        Self {
            window_s: rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(window_s),
            select,
            given: rules.and_then(|rules| rules.policies.as_deref()).filter(|given| !given.is_empty()),
            usual,
        }
    }

    /// What each policy allows, and in how many seconds.
    fn steps(&self) -> impl Iterator<Item = (Step, i32)> {
        let usual = if self.given.is_none() { self.usual } else { &[] };
        let given = self.given.into_iter().flatten().map(|policy| match &*policy.type_ {
            "Percent" => (Step::Percent(policy.value), policy.period_seconds),
            _ => (Step::Pods(policy.value), policy.period_seconds),
        });
        given.chain(usual.iter().map(|step| (*step, 15)))
    }

    /// The highest number that the rules allow.
    fn most(&self, current: i32, raised: &[(Timestamp, i32)], now: Timestamp) -> i32 {
        let allowed = self.steps().map(|(step, period_s)| {
            let before = current.saturating_sub(sum(raised, period_s, now));
            match step {
                Step::Pods(pods) => before.saturating_add(pods),
                // Rounded up: a percentage of few pods would never be a pod.
                Step::Percent(percent) => {
                    (f64::from(before) * (1.0 + f64::from(percent) / 100.0)).ceil() as i32
                }
            }
        });
        match self.select {
            Select::Disabled => current,
            Select::Most => allowed.max().unwrap_or(current),
            Select::Least => allowed.min().unwrap_or(current),
        }
    }

    /// The lowest.
    fn least(&self, current: i32, lowered: &[(Timestamp, i32)], now: Timestamp) -> i32 {
        let allowed = self.steps().map(|(step, period_s)| {
            let before = current.saturating_add(sum(lowered, period_s, now));
            match step {
                Step::Pods(pods) => before.saturating_sub(pods),
                Step::Percent(percent) => (f64::from(before) * (1.0 - f64::from(percent) / 100.0)) as i32,
            }
        });
        match self.select {
            Select::Disabled => current,
            Select::Most => allowed.min().unwrap_or(current),
            Select::Least => allowed.max().unwrap_or(current),
        }
    }
}

fn sum(changes: &[(Timestamp, i32)], period_s: i32, now: Timestamp) -> i32 {
    recent(changes, period_s, false, now).fold(0, i32::saturating_add)
}
