//! The planner as a session uses it: threads with stacks that fit the caps, behind a cache bounded in bytes.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use foldhash::fast::RandomState;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{Equivalent, Weighter};
use tokio::sync::oneshot;

use crate::catalog::Catalog;
use crate::policy::compiled::RolePolicy;

use super::columns::Columns;
use super::plan::{POISON, Plan, PositionMap, SessionFacts, StatementPlan, Verdict};
use super::refuse;
use super::shape::{Recipe, Shape};
use super::template::Templates;

/// Stack of a planning thread, in bytes. Touched pages alone cost memory. Both parsers and the trees recurse; the caps
/// of [`super::lex`] keep them below this.
pub const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Plans that are expected in the cache; a hint for its tables, no limit.
const EXPECTED_PLANS: usize = 10_000;
/// One part of so many of the cache is for plans that serve all texts of a shape, ...
const SHAPES_SHARE: u64 = 4;
/// ... and one of so many for templates.
const TEMPLATES_SHARE: u64 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    role: u64,
    catalog: u64,
    facts: Arc<SessionFacts>,
    text: Arc<str>,
}

/// A [`Key`] to look for; hashed as that is.
#[derive(Hash)]
struct Sought<'a> {
    role: u64,
    catalog: u64,
    facts: &'a Arc<SessionFacts>,
    text: &'a str,
}

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.role == key.role
            && self.catalog == key.catalog
            && *self.facts == key.facts
            && self.text == &*key.text
    }
}

impl Key {
    /// Memory that it takes, in bytes.
    fn size(&self) -> usize {
        let temporary = self.facts.temporary.iter().chain(&self.facts.shadows);
        let temporary: usize = temporary.map(|name| name.len() + 24).sum();
        let values: usize = self
            .facts
            .values
            .values()
            .map(|value| value.len() + 64)
            .sum();
        let parameters = self
            .facts
            .parameters
            .as_ref()
            .map_or(0, |types| types.len() * 4);
        parameters + self.text.len() + self.facts.search_path.len() + temporary + values
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Plan>> for Bytes {
    fn weight(&self, key: &Key, plan: &Arc<Plan>) -> u64 {
        let statements: usize = plan.statements.iter().map(StatementPlan::size).sum();
        let bytes = key.size()
            + plan.text.as_ref().map_or(0, |text| text.len())
            + plan.positions.runs.len() * 12
            + statements
            + 256;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What is known of the texts of one shape.
#[derive(Debug, Clone)]
enum Known {
    /// There was one.
    Seen,
    /// They are planned one by one.
    Apart,
    /// Which of their literals are lifted out.
    Lifted(Arc<[bool]>),
    /// By a completed key.
    Recipe(Arc<Recipe>),
}

impl Weighter<Key, Known> for Bytes {
    fn weight(&self, key: &Key, known: &Known) -> u64 {
        let own = match known {
            Known::Seen | Known::Apart => 0,
            Known::Lifted(lifted) => lifted.len(),
            Known::Recipe(recipe) => recipe.size(),
        };
        u64::try_from(key.size() + own + 128).unwrap_or(u64::MAX)
    }
}

/// What a planning thread is asked for.
enum Work {
    Plan(Job),
    /// Everything kept is given back: here, for that takes its time.
    Forget,
}

struct Job {
    text: Arc<str>,
    catalog: Arc<Catalog>,
    role: Arc<RolePolicy>,
    facts: Arc<SessionFacts>,
    /// Its shape came before: the plan is to serve others, too.
    derive: bool,
    reply: oneshot::Sender<Planned>,
}

/// A plan as a planning thread gives it.
struct Planned {
    plan: Arc<Plan>,
    /// Where it was asked for and can be had.
    recipe: Option<Recipe>,
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
    kept: Arc<Kept>,
    jobs: mpsc::Sender<Work>,
    hits: AtomicU64,
    misses: AtomicU64,
}

type Cache<T> = quick_cache::sync::Cache<Key, T, Bytes, RandomState>;

/// A cache of so many bytes.
fn cache<T: Clone>(bytes: u64) -> Cache<T>
where
    Bytes: Weighter<Key, T>,
{
    let lifecycle = DefaultLifecycle::default();
    Cache::with(
        EXPECTED_PLANS,
        bytes,
        Bytes,
        RandomState::default(),
        lifecycle,
    )
}

/// What is kept of work that was done.
struct Kept {
    plans: Cache<Arc<Plan>>,
    shapes: Cache<Known>,
    templates: Templates,
}

impl Kept {
    fn new(most: u64) -> Self {
        let (shapes, templates) = (most / SHAPES_SHARE, most / TEMPLATES_SHARE);
        Kept {
            plans: cache(most - shapes - templates),
            shapes: cache(shapes),
            templates: Templates::new(templates),
        }
    }

    fn forget(&self) {
        self.plans.clear();
        self.shapes.clear();
        self.templates.forget();
    }
}

impl Planner {
    /// A planner whose cache holds at most `cache_bytes` bytes, with so many threads (at least one).
    ///
    /// # Errors
    /// Where the operating system gives no thread.
    pub fn new(cache_bytes: u64, threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        let kept = Arc::new(Kept::new(cache_bytes));
        for index in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            let kept = Arc::clone(&kept);
            thread::Builder::new()
                .name(format!("planner-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue, &kept))?;
        }
        Ok(Planner {
            kept,
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
        catalog: &Arc<Catalog>,
        role: &Arc<RolePolicy>,
        facts: Arc<SessionFacts>,
    ) -> Arc<Plan> {
        let sought = Sought {
            role: role.version,
            catalog: catalog.version,
            facts: &facts,
            text: &text,
        };
        if let Some(plan) = self.kept.plans.get(&sought) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return plan;
        }
        let key = Key {
            role: role.version,
            catalog: catalog.version,
            facts: Arc::clone(&facts),
            text: Arc::clone(&text),
        };
        let derive = match self.by_shape(&key) {
            ByShape::Plan(plan) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Arc::new(plan);
            }
            ByShape::Derive => true,
            ByShape::Unknown => false,
        };
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let job = Job {
            text,
            catalog: Arc::clone(catalog),
            role: Arc::clone(role),
            facts,
            derive,
            reply,
        };
        let planned = match self.jobs.send(Work::Plan(job)) {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        match planned {
            Some(planned) => {
                if derive {
                    self.know(&key, planned.recipe);
                }
                self.kept.plans.insert(key, Arc::clone(&planned.plan));
                planned.plan
            }
            None => Arc::new(failed(role)),
        }
    }

    /// The plan of a text from that of its shape.
    fn by_shape(&self, key: &Key) -> ByShape {
        let Some(shape) = Shape::of(&key.text) else {
            return ByShape::Unknown;
        };
        let own = shape.key();
        match self.kept.shapes.get(&key.sought(&own)) {
            None => {
                self.kept.shapes.insert(key.of(&own), Known::Seen);
                ByShape::Unknown
            }
            Some(Known::Seen) => ByShape::Derive,
            Some(Known::Lifted(lifted)) => {
                let complete = shape.complete(own, &lifted);
                match self.kept.shapes.get(&key.sought(&complete)) {
                    Some(Known::Recipe(recipe)) => ByShape::Plan(recipe.plan(&shape)),
                    Some(_) => ByShape::Unknown,
                    None => ByShape::Derive,
                }
            }
            Some(Known::Apart | Known::Recipe(_)) => ByShape::Unknown,
        }
    }

    /// Keeps what was learned of a text's shape.
    fn know(&self, key: &Key, recipe: Option<Recipe>) {
        let Some(shape) = Shape::of(&key.text) else {
            return;
        };
        let own = shape.key();
        let known = self.kept.shapes.get(&key.sought(&own));
        match (recipe, known) {
            (Some(recipe), _) => {
                let lifted = recipe.lifted().into();
                let complete = shape.complete(own.clone(), recipe.lifted());
                self.kept.shapes.insert(key.of(&own), Known::Lifted(lifted));
                self.kept
                    .shapes
                    .insert(key.of(&complete), Known::Recipe(Arc::new(recipe)));
            }
            (None, Some(Known::Lifted(lifted))) => {
                let complete = shape.complete(own, &lifted);
                self.kept.shapes.insert(key.of(&complete), Known::Apart);
            }
            (None, _) => self.kept.shapes.insert(key.of(&own), Known::Apart),
        }
    }

    /// Gives back what is kept, after a change that makes most of it useless: plans are found by the versions of policy and
    /// catalog, so old ones do no harm, but nobody asks for them any more. What is in the making comes on top.
    pub fn forget(&self) {
        // No planning thread: nothing was made either.
        let _ = self.jobs.send(Work::Forget);
    }

    /// Texts that had to be planned. Unlike [`Planner::stats`] it locks nothing.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.kept.plans.weight()
                + self.kept.shapes.weight()
                + self.kept.templates.size(),
            plans: u64::try_from(self.kept.plans.len()).unwrap_or(u64::MAX),
        }
    }
}

/// What is known of a text by its shape.
enum ByShape {
    Plan(Plan),
    /// The plan of the text is worth a recipe.
    Derive,
    Unknown,
}

impl Key {
    /// The same circumstances, another text, to look for.
    fn sought<'a>(&'a self, text: &'a str) -> Sought<'a> {
        Sought {
            role: self.role,
            catalog: self.catalog,
            facts: &self.facts,
            text,
        }
    }

    /// The same circumstances, another text.
    fn of(&self, text: &str) -> Key {
        Key {
            text: text.into(),
            facts: Arc::clone(&self.facts),
            ..*self
        }
    }
}

/// Plans a text and, where that is wanted, its shape.
fn planned(job: &Job, templates: &Templates) -> Planned {
    let plan =
        |text: &str| super::planner::plan(text, &job.catalog, &job.role, &job.facts, templates);
    let own = plan(&job.text);
    // Whether a constant names a honeytoken row is a matter of the constant.
    let compares = |columns: &Columns| columns.traps.iter().any(|known| known.sought);
    let is_apart = own.statements.iter().any(|plan| compares(&plan.columns));
    let recipe = Shape::of(&job.text)
        .filter(|_| job.derive && !is_apart)
        .and_then(|shape| Recipe::derive(&shape, shape.lifted()?, &own, plan));
    Planned {
        plan: Arc::new(own),
        recipe,
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Work>>, kept: &Kept) {
    loop {
        let work = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let job = match work {
            Ok(Work::Plan(job)) => job,
            Ok(Work::Forget) => {
                kept.forget();
                continue;
            }
            Err(_) => return,
        };
        // Neither parser is expected to panic; if one does, the statement is refused and the thread lives on.
        let planned = catch_unwind(AssertUnwindSafe(|| planned(&job, &kept.templates)));
        let planned = planned.unwrap_or_else(|_| Planned {
            plan: Arc::new(failed(&job.role)),
            recipe: None,
        });
        let _ = job.reply.send(planned);
    }
}

/// The plan of a text that could not be planned at all: for a restricted role it does not run.
fn failed(role: &RolePolicy) -> Plan {
    if role.unmasked {
        return Plan::new(Vec::new(), None, PositionMap::default());
    }
    let statement = StatementPlan {
        verdict: Verdict::Refuse(refuse::judge("the statement could not be analysed")),
        ..StatementPlan::passing(
            "this statement",
            ("<not readable>".to_owned(), String::new()),
            (0, 0),
        )
    };
    let text = format!("SELECT {POISON}");
    Plan::new(vec![statement], Some(text.into()), PositionMap::default())
}
