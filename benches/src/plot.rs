//! Time over round-trip time, as a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// The least and the greatest time on the axis, in seconds, as powers of ten.
const DECADES: (i32, i32) = (-1, 2);

/// The ways in the order in which they are named, with a colour and a pattern of dashes.
const WAYS: [(&str, &str, &str, &str); 5] = [
    ("OpenSSH sftp", "scp (sftp-server)", "#7f7f7f", "2 3"),
    ("OpenSSH scp", "scp -O (scp -t)", "#000000", "6 3"),
    ("off", "--pipeline off", "#1f77b4", "none"),
    ("auto", "--pipeline auto", "#2ca02c", "none"),
    ("on", "--pipeline on", "#d62728", "none"),
];

/// Draws the uploads with `-r` from the measurements, each point the median of its runs.
///
/// # Errors
/// A line is not of the form that is written by the measurement.
pub fn draw(csv: &str, out: &mut impl Write) -> io::Result<()> {
    let mut times: BTreeMap<(String, u32), Vec<f64>> = BTreeMap::new();
    let mut files = String::new();
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [rtt, way, flags, count, seconds] = fields[..] else {
            return Err(io::Error::other(format!("not a measurement: {line}")));
        };
        if flags == "-r" {
            files = count.to_owned();
            let key = (way.to_owned(), rtt.parse().map_err(io::Error::other)?);
            times.entry(key).or_default().push(seconds.parse().map_err(io::Error::other)?);
        }
    }
    let longest = times.keys().map(|(_, rtt)| *rtt).max().unwrap_or(100).max(1);
    let x = |rtt: f64| LEFT + rtt / f64::from(longest) * (WIDTH - LEFT - RIGHT);
    let y = |seconds: f64| {
        let (least, greatest) = (f64::from(DECADES.0), f64::from(DECADES.1));
        HEIGHT - BOTTOM - (seconds.log10() - least) / (greatest - least) * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">Uploading {files} files of 1 KiB with OpenSSH's scp -r</text>\n"
    );
    let mut add = |text: String| svg.write_str(&text).map_err(io::Error::other);
    for decade in DECADES.0..=DECADES.1 {
        let seconds = 10_f64.powi(decade);
        let (at, end) = (y(seconds), WIDTH - RIGHT);
        add(format!("<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/>\n"))?;
        add(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{seconds} s</text>\n",
            LEFT - 6.0,
            at + 4.0
        ))?;
    }
    for fifth in 0..=5 {
        let rtt = f64::from(longest) * f64::from(fifth) / 5.0;
        let (at, foot) = (x(rtt), HEIGHT - BOTTOM);
        add(format!("<path d=\"M{at:.1} {foot}v5\" stroke=\"black\"/>\n"))?;
        add(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{rtt}</text>\n", foot + 18.0))?;
    }
    let (middle, foot) = (x(f64::from(longest) / 2.0), HEIGHT - 10.0);
    add(format!("<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">round-trip time, ms</text>\n"))?;
    let mut named = f64::NEG_INFINITY;
    for (way, words, colour, dashes) in WAYS {
        let points: Vec<(f64, f64)> = times
            .iter()
            .filter(|((name, _), _)| name == way)
            .map(|((_, rtt), seconds)| (x(f64::from(*rtt)), y(super::median(seconds))))
            .collect();
        let Some(&(end, height)) = points.last() else { continue };
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        add(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\n",
            path.join(" ")
        ))?;
        for (x, y) in &points {
            add(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"))?;
        }
        // Names of lines that end together stand below each other.
        named = (height + 4.0).max(named + 14.0);
        add(format!("<text x=\"{:.1}\" y=\"{named:.1}\" fill=\"{colour}\">{words}</text>\n", end + 8.0))?;
    }
    add("</svg>\n".to_owned())?;
    out.write_all(svg.as_bytes())
}
