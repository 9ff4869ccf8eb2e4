//! A chart as SVG: bars that lie beside their labels, or a line. Standard fonts, no scripts, and
//! colours that can be seen on white and on black.

const WIDTH: f64 = 760.0;
const BAR: f64 = 20.0;
const GAP: f64 = 6.0;
const TOP: f64 = 64.0;
const MARGIN: f64 = 16.0;
const LINE_HEIGHT: f64 = 280.0;
const INK: &str = "#2f7dbd";
const GREY: &str = "#808080";

/// Draws values under a title; `means` says what they are.
pub(super) fn draw(title: &str, means: &str, is_line: bool, points: &[(String, f64)]) -> String {
    let (body, height) = if is_line { line(points) } else { bars(points) };
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"{GREY}\">\n"
    );
    let title = format!(
        "<title>{0}</title>\n<text x=\"{MARGIN}\" y=\"28\" font-size=\"18\">{0}</text>\n<text x=\"{MARGIN}\" y=\"48\">{1}</text>\n",
        escaped(title),
        escaped(means)
    );
    format!("{head}{title}{body}</svg>\n")
}

fn bars(points: &[(String, f64)]) -> (String, f64) {
    let longest = points.iter().map(|(label, _)| label.chars().count()).max();
    let labels = (longest.unwrap_or(0) as f64 * 7.5).clamp(60.0, 300.0);
    let (left, room) = (MARGIN + labels + 8.0, WIDTH - MARGIN - labels - 90.0);
    let most = most(points);
    let mut body = String::new();
    for (at, (label, value)) in points.iter().enumerate() {
        let y = TOP + at as f64 * (BAR + GAP);
        let (length, text) = (room * value.max(0.0) / most, y + 15.0);
        body += &format!(
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\n<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{INK}\"/>\n<text x=\"{:.1}\" y=\"{text:.1}\">{}</text>\n",
            left - 8.0,
            escaped(label),
            left + length + 6.0,
            number(*value)
        );
    }
    (body, TOP + points.len() as f64 * (BAR + GAP) + MARGIN)
}

fn line(points: &[(String, f64)]) -> (String, f64) {
    let (left, room) = (MARGIN + 40.0, WIDTH - 2.0 * (MARGIN + 40.0));
    let base = TOP + LINE_HEIGHT;
    let most = most(points);
    let step = room / (points.len().max(2) - 1) as f64;
    let place = |at: usize, value: f64| {
        let height = LINE_HEIGHT * value.max(0.0) / most;
        (left + step * at as f64, base - height)
    };
    let mut body = format!(
        "<line x1=\"{left}\" y1=\"{base}\" x2=\"{}\" y2=\"{base}\" stroke=\"{GREY}\"/>\n",
        left + room
    );
    let mut path = Vec::new();
    for (at, (label, value)) in points.iter().enumerate() {
        let (x, y) = place(at, *value);
        path.push(format!("{x:.1},{y:.1}"));
        body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{INK}\"/>\n<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            y - 10.0,
            number(*value),
            base + 18.0,
            escaped(label)
        );
    }
    body += &format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{INK}\" stroke-width=\"2\"/>\n",
        path.join(" ")
    );
    (body, base + 18.0 + MARGIN)
}

/// The value that takes all of the room.
fn most(points: &[(String, f64)]) -> f64 {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if most > 0.0 { most } else { 1.0 }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_takes_the_room_and_texts_are_escaped() {
        let points = [("a<b".to_owned(), 2.0), ("c".to_owned(), 1.0)];
        let drawn = draw("t & u", "means", false, &points);
        assert!(
            drawn.contains("a&lt;b") && drawn.contains("t &amp; u"),
            "{drawn}"
        );
        let widths: Vec<f64> = drawn
            .split("<rect ")
            .skip(1)
            .filter_map(|rect| {
                rect.split("width=\"")
                    .nth(1)?
                    .split('"')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect();
        assert!(
            widths.len() == 2 && (widths[0] - 2.0 * widths[1]).abs() < 0.2,
            "{widths:?}"
        );
        let empty = draw("t", "m", true, &[]);
        assert!(
            empty.starts_with("<svg") && empty.trim_end().ends_with("</svg>"),
            "{empty}"
        );
    }
}
