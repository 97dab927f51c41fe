//! The settings of the chart.

use config::{Config, File, FileFormat};

const VALUES: &str = include_str!("../../helm/baton-retool/values.yaml");

/// The settings that the chart sets by default, as flags.
pub(crate) fn flags() -> Vec<String> {
    let values = Config::builder().add_source(File::from_str(VALUES, FileFormat::Yaml)).build();
    let settings = values.expect("valid YAML").get_table("settings").expect("the settings of the chart");
    let mut flags: Vec<_> = settings.into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
    flags.sort();
    flags
}
