"""Tell the programming language of source code with guesslang's published SavedModel.

    python examples/guesslang.py                  # snippets that are built in
    python examples/guesslang.py FILE [FILE ...]  # your own files

guesslang (https://github.com/yoeo/guesslang) was trained with TensorFlow 2.5 as a TF1 Estimator,
an interface that TensorFlow has dropped since; its SavedModel still runs. It takes the bytes of
each text and cuts them into pairs itself, with string operations inside the graph. The model is
fetched at the first run; neither guesslang's own code nor TensorFlow's Python package is needed
to run it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import savedmodel
from fetch_models import fetch

SHOWN = 3
BAR_WIDTH = 30  # Columns.

SNIPPETS = {
    "Python": '''
from dataclasses import dataclass

@dataclass
class Point:
    """A point in the plane."""
    x: float
    y: float

    def distance(self, other: "Point") -> float:
        return ((self.x - other.x) ** 2 + (self.y - other.y) ** 2) ** 0.5

if __name__ == "__main__":
    points = [Point(i, i * i) for i in range(10)]
    for a, b in zip(points, points[1:]):
        print(f"{a.distance(b):.3f}")
''',
    "C++": """
#include <algorithm>
#include <iostream>
#include <vector>

template <typename T>
T median(std::vector<T> values) {
  auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

int main() {
  const std::vector<double> samples = {3.5, 1.25, 9.0, 4.75};
  std::cout << median(samples) << std::endl;
  return 0;
}
""",
    "Rust": """
use std::collections::HashMap;

fn count_words(text: &str) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

fn main() {
    let counts = count_words("the quick brown fox jumps over the lazy dog");
    for (word, n) in &counts {
        println!("{}: {}", word, n);
    }
}
""",
    "SQL": """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    total DECIMAL(10, 2) NOT NULL DEFAULT 0
);

SELECT c.name, COUNT(*) AS orders, SUM(o.total) AS revenue
FROM customers AS c
JOIN orders AS o ON o.customer_id = c.id
WHERE o.total > 100
GROUP BY c.name
ORDER BY revenue DESC;
""",
    "Shell": """
#!/bin/bash
set -euo pipefail

if [ $# -lt 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 1
fi

for file in "$1"/*.log; do
    if [ -s "$file" ]; then
        gzip -9 "$file" && echo "compressed $file"
    fi
done
""",
    "JavaScript": """
const express = require('express');
const app = express();

app.get('/users/:id', async (req, res) => {
  const user = await db.users.findOne({ id: req.params.id });
  if (!user) {
    return res.status(404).json({ error: 'not found' });
  }
  res.json(user);
});

app.listen(3000, () => console.log('listening on 3000'));
""",
}


def main() -> None:
    """Classify files, or the built-in snippets, and print the likeliest languages of each."""
    parser = argparse.ArgumentParser(description="Tell the programming language of source code.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    files: list[Path] = parser.parse_args().files
    texts = {str(file): file.read_bytes() for file in files} or {
        name: snippet.encode() for name, snippet in SNIPPETS.items()
    }
    path = fetch("guesslang")
    # The model knows languages by their file extensions.
    extensions: dict[str, str] = json.loads((path.parent / "languages.json").read_text("utf-8"))
    names = {extension.encode(): name for name, extension in extensions.items()}

    start = time.perf_counter()
    model = savedmodel.load(path)  # The first use of the package, which loads TensorFlow itself.
    load_seconds = time.perf_counter() - start
    model_seconds = sum(phase.seconds for phase in model.load_report.values())

    start = time.perf_counter()
    outputs = model.signatures["serving_default"](inputs=list(texts.values()))
    call_seconds = time.perf_counter() - start

    ink = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    for text, classes, scores in zip(texts, outputs["classes"], outputs["scores"], strict=True):
        print(text)
        for index in np.argsort(-scores, kind="stable")[:SHOWN]:
            bar = (ink * round(scores[index] * BAR_WIDTH)).ljust(BAR_WIDTH)
            print(f"  {bar} {scores[index]:6.1%} {names[classes[index]]}")
    print()
    print(f"load   {load_seconds * 1e3:.0f} ms, {model_seconds * 1e3:.0f} of it the model")
    print(f"texts  {call_seconds * 1e3:.0f} ms for {len(texts)}, the first call")


if __name__ == "__main__":
    main()
