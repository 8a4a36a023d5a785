//! A place beside a plan for what others make of it once and use each time it runs.
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What somebody who uses plans has made of one. It belongs to this plan alone: a copy begins without, since it may be
/// changed, and two plans are the same whatever stands beside them.
#[derive(Default)]
pub struct Companion(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Companion {
    /// What stands beside the plan, made by `make` where nothing does.
    pub fn get_or_make<T: Any + Send + Sync>(&self, make: impl Fn() -> T) -> Arc<T> {
        let kept = self.0.get_or_init(|| Arc::new(make()));
        // There is one user of plans that keeps anything; another would get its own each time.
        Arc::clone(kept)
            .downcast()
            .unwrap_or_else(|_| Arc::new(make()))
    }
}

impl Clone for Companion {
    fn clone(&self) -> Self {
        Companion::default()
    }
}

impl PartialEq for Companion {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Companion {}

impl fmt::Debug for Companion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Companion")
    }
}
