//! How metrics are made and registered.
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::TABLE;

/// Makes and registers metrics with the help of [`TABLE`].
pub struct Maker<'a>(pub &'a Registry);

impl Maker<'_> {
    fn opts(name: &str) -> Result<Opts, prometheus::Error> {
        let (name, _, help) = TABLE
            .iter()
            .find(|(listed, _, _)| *listed == name)
            .ok_or_else(|| prometheus::Error::Msg(format!("{name} is not in the table")))?;
        Ok(Opts::new(*name, *help))
    }

    fn register<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub fn counter(&self, name: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(Self::opts(name)?)?)
    }

    pub fn counters(
        &self,
        name: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Self::opts(name)?, labels)?)
    }

    pub fn gauge(&self, name: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(Self::opts(name)?)?)
    }

    pub fn gauges(&self, name: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Self::opts(name)?, labels)?)
    }

    pub fn histogram(&self, name: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::from(Self::opts(name)?).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }

    pub fn histograms(
        &self,
        name: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::from(Self::opts(name)?).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }
}
