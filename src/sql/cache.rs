//! The planner as a session uses it: threads with stacks that fit the caps, behind a cache bounded in bytes.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use crate::catalog::Catalog;
use crate::policy::compiled::RolePolicy;

use super::columns::Columns;
use super::plan::{POISON, Plan, PositionMap, SessionFacts, StatementPlan, Verdict};
use super::refuse;
use super::template::Templates;

/// Stack of a planning thread, in bytes. Touched pages alone cost memory. Both parsers and the trees recurse; the caps
/// of [`super::lex`] keep them below this.
pub const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Plans that are expected in the cache; a hint for its tables, no limit.
const EXPECTED_PLANS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    role: u64,
    catalog: u64,
    facts: Arc<SessionFacts>,
    text: Arc<str>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Plan>> for Bytes {
    fn weight(&self, key: &Key, plan: &Arc<Plan>) -> u64 {
        let strings = |list: &[String]| list.iter().map(|item| item.len() + 24).sum::<usize>();
        let statements: usize = plan
            .statements
            .iter()
            .map(|statement| {
                size_of::<StatementPlan>()
                    + statement.normalised.len()
                    + strings(&statement.reads)
                    + strings(&statement.writes)
                    + strings(&statement.masked)
                    + strings(&statement.lookups)
                    + statement.columns.size()
                    + size_of::<Columns>()
                    + statement.origins.len() * 64
                    + statement.effects.len() * 48
            })
            .sum();
        let bytes = key.text.len()
            + key.facts.search_path.len()
            + key
                .facts
                .temporary
                .iter()
                .map(|name| name.len() + 24)
                .sum::<usize>()
            + plan.text.as_ref().map_or(0, |text| text.len())
            + plan.positions.runs.len() * 12
            + statements
            + 256;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

struct Job {
    text: Arc<str>,
    catalog: Arc<Catalog>,
    role: Arc<RolePolicy>,
    facts: Arc<SessionFacts>,
    reply: oneshot::Sender<Arc<Plan>>,
}

/// How the cache fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    pub bytes: u64,
    pub plans: u64,
}

/// Plans texts for all sessions. Cloning is not needed: share it behind an `Arc`.
pub struct Planner {
    cache: Cache<Key, Arc<Plan>, Bytes>,
    jobs: mpsc::Sender<Job>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Planner {
    /// A planner whose cache holds at most `cache_bytes` bytes, with so many threads (at least one).
    ///
    /// # Errors
    /// Where the operating system gives no thread.
    pub fn new(cache_bytes: u64, threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let templates = Arc::new(Templates::default());
        for index in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            let templates = Arc::clone(&templates);
            thread::Builder::new()
                .name(format!("planner-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue, &templates))?;
        }
        Ok(Planner {
            cache: Cache::with_weighter(EXPECTED_PLANS, cache_bytes, Bytes),
            jobs,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// The plan of a text, from the cache or made on a planning thread. Cancel safe: a plan that nobody waits for any
    /// more is dropped.
    pub async fn plan(
        &self,
        text: Arc<str>,
        catalog: Arc<Catalog>,
        role: Arc<RolePolicy>,
        facts: Arc<SessionFacts>,
    ) -> Arc<Plan> {
        let key = Key {
            role: role.version,
            catalog: catalog.version,
            facts: Arc::clone(&facts),
            text: Arc::clone(&text),
        };
        if let Some(plan) = self.cache.get(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return plan;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = Job {
            text,
            catalog,
            role: Arc::clone(&role),
            facts,
            reply,
        };
        let plan = match self.jobs.send(job) {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        match plan {
            Some(plan) => {
                self.cache.insert(key, Arc::clone(&plan));
                plan
            }
            None => Arc::new(failed(&role)),
        }
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.cache.weight(),
            plans: u64::try_from(self.cache.len()).unwrap_or(u64::MAX),
        }
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, templates: &Templates) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else {
            return;
        };
        // Neither parser is expected to panic; if one does, the statement is refused and the thread lives on.
        let plan = catch_unwind(AssertUnwindSafe(|| {
            super::planner::plan(&job.text, &job.catalog, &job.role, &job.facts, templates)
        }))
        .unwrap_or_else(|_| failed(&job.role));
        let _ = job.reply.send(Arc::new(plan));
    }
}

/// The plan of a text that could not be planned at all: for a restricted role it does not run.
fn failed(role: &RolePolicy) -> Plan {
    if role.unmasked {
        return Plan {
            statements: Vec::new(),
            text: None,
            positions: PositionMap::default(),
        };
    }
    Plan {
        statements: vec![StatementPlan {
            verdict: Verdict::Refuse(refuse::judge("the statement could not be analysed")),
            ..StatementPlan::passing(
                "this statement",
                ("<not readable>".to_owned(), String::new()),
                (0, 0),
            )
        }],
        text: Some(Arc::from(format!("SELECT {POISON}"))),
        positions: PositionMap::default(),
    }
}
