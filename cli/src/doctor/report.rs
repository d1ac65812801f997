//! What `doctor` found, for people and as JSON.

use serde::Serialize;

use crate::terminal::{self, colours, Screen};

/// What a finding means for the sessions. In order: the worst finding is the verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Good,
    Note,
    Partly,
    Not,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
}

/// One of the library's settings.
#[derive(Serialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// `default`, `environment` or `invalid`.
    pub source: &'static str,
    /// The line that the library prints about it.
    pub complaint: Option<String>,
}

/// All that was found. Its fields are the JSON's.
#[derive(Serialize)]
pub struct Report {
    version: u32,
    verdict: &'static str,
    findings: Vec<Finding>,
    settings: Vec<Setting>,
}

impl Report {
    pub fn new() -> Report {
        Report {
            version: 1,
            verdict: "protected",
            findings: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Adds a finding, and makes the verdict as bad as it.
    pub fn add(&mut self, level: Level, subject: &'static str, text: impl AsRef<str>) {
        self.verdict = match (level, self.verdict) {
            (Level::Not, _) | (_, "not") => "not",
            (Level::Partly, _) | (_, "partly") => "partly",
            _ => "protected",
        };
        self.findings.push(Finding {
            level,
            subject,
            text: terminal::printable(text.as_ref()),
        });
    }

    /// Adds a setting.
    pub fn add_setting(
        &mut self,
        name: &str,
        value: &str,
        source: &'static str,
        complaint: Option<&str>,
    ) {
        self.settings.push(Setting {
            name: terminal::printable(name),
            value: terminal::printable(value),
            source,
            complaint: complaint.map(terminal::printable),
        });
    }

    pub fn is_protected(&self) -> bool {
        self.verdict == "protected"
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// As lines for people; the last one is the verdict.
    pub fn text(&self, screen: &Screen) -> String {
        let findings = self.findings.iter().map(|finding| finding.line(screen));
        let names = self.settings.iter().map(|setting| setting.name.len());
        let widest = names.max().unwrap_or(0);
        let settings = self.settings.iter();
        let settings = settings.map(|setting| setting.line(widest, screen));
        let mut text: String = findings.chain(settings).collect();
        let (verdict, colour) = self.verdict_line();
        text.push_str(&screen.paint(&verdict, &format!("{};{colour}", colours::BOLD)));
        text.push('\n');
        text
    }

    /// The verdict with the first finding that makes it so, and its colour.
    fn verdict_line(&self) -> (String, &'static str) {
        let because = |level| {
            let mut findings = self.findings.iter();
            let finding = findings.find(|finding| finding.level == level);
            finding.map_or(String::new(), |finding| {
                format!(": {}: {}", finding.subject, finding.text)
            })
        };
        match self.verdict {
            "not" => (
                format!("not protected{}", because(Level::Not)),
                colours::RED,
            ),
            "partly" => (
                format!("partly protected{}", because(Level::Partly)),
                colours::YELLOW,
            ),
            _ => (
                "protected: forked children stay off their parent's sessions".to_owned(),
                colours::GREEN,
            ),
        }
    }
}

impl Finding {
    fn line(&self, screen: &Screen) -> String {
        let (mark, colour) = match self.level {
            Level::Good => ("ok", colours::GREEN),
            Level::Note => ("  ", colours::FAINT),
            Level::Partly => ("!!", colours::YELLOW),
            Level::Not => ("no", colours::RED),
        };
        let mark = screen.paint(mark, colour);
        format!("{mark}  {:<9} {}\n", self.subject, self.text)
    }
}

impl Setting {
    fn line(&self, widest: usize, screen: &Screen) -> String {
        let (mark, colour) = match self.source {
            "invalid" => ("!!", colours::YELLOW),
            "environment" => ("ok", colours::GREEN),
            _ => ("  ", colours::FAINT),
        };
        let mark = screen.paint(mark, colour);
        let source = match &self.complaint {
            Some(complaint) => format!("invalid; the library prints: {complaint}"),
            None => self.source.to_owned(),
        };
        let Setting { name, value, .. } = self;
        format!("{mark}  setting   {name:<widest$} = {value} ({source})\n")
    }
}
