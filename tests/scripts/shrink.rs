//! Makes a script that shows a difference shorter while it still does.
use crate::script::{Message, Script, Wait};

/// Most attempts: each is a script played in several sessions.
const ATTEMPTS: usize = 400;

pub fn shrink(script: &Script, mut differs: impl FnMut(&Script) -> bool) -> Script {
    let mut best = script.clone();
    let mut attempts = 0;
    loop {
        let before = best.clone();
        // From the end: what stands there is most likely of no account.
        let mut at = steps(&best).len();
        while at > 0 {
            at -= 1;
            let Some(step) = steps(&best).get(at).copied() else {
                continue;
            };
            let shorter = without(&best, step);
            attempts += 1;
            if attempts > ATTEMPTS {
                return best;
            }
            if shorter != best && differs(&shorter) {
                best = shorter;
            }
        }
        if best == before {
            return best;
        }
    }
}

/// A way to make a script simpler.
#[derive(Debug, Clone, Copy)]
enum Step {
    Group(usize),
    Message(usize, usize),
    Text(usize, usize, usize),
    /// What is sent next is waited for, which is simpler.
    Waits(usize),
}

fn steps(script: &Script) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, group) in script.groups.iter().enumerate() {
        if group.wait != Wait::All {
            steps.push(Step::Waits(at));
        }
        for (index, message) in group.messages.iter().enumerate() {
            if let Message::Query(texts) = message
                && texts.len() > 1
            {
                steps.extend((0..texts.len()).map(|text| Step::Text(at, index, text)));
            }
            steps.push(Step::Message(at, index));
        }
        steps.push(Step::Group(at));
    }
    steps
}

fn without(script: &Script, step: Step) -> Script {
    let mut shorter = script.clone();
    match step {
        Step::Group(at) => {
            shorter.groups.remove(at);
        }
        Step::Message(at, index) => {
            shorter.groups[at].messages.remove(index);
        }
        Step::Text(at, index, text) => {
            if let Message::Query(texts) = &mut shorter.groups[at].messages[index] {
                texts.remove(text);
            }
        }
        Step::Waits(at) => shorter.groups[at].wait = Wait::All,
    }
    // The last answers are always waited for.
    if let Some(last) = shorter.groups.last_mut()
        && last.wait != Wait::Cancel
    {
        last.wait = Wait::All;
    }
    shorter
}
