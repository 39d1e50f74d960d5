"""Transcribe music to notes with basic-pitch's published SavedModel.

    python examples/basic_pitch.py                 # a short melody that is synthesised here
    python examples/basic_pitch.py recording.wav   # your own

basic-pitch (Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note
Transcription and Multipitch Estimation", ICASSP 2022) hears audio in windows of two seconds, and
says for each of the 88 piano keys, 86 times a second, how likely a note sounds or begins. The
model is fetched at the first run; neither basic-pitch's own code nor TensorFlow's Python package
is needed to run it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import savedmodel
from fetch_models import fetch

Samples = npt.NDArray[np.float32]
Activations = npt.NDArray[np.float32]  # (frames, keys), each 0..1.

SAMPLE_RATE = 22050
WINDOW = 43844  # Samples that the model takes at once.
HOP = 256  # Samples from one frame of its answer to the next.
FRAMES = 172  # Frames of its answer to one window.
LOWEST_KEY = 21  # The MIDI number of the first of the 88 keys: A0.

# The first and last frames of a window lack their surroundings. The windows overlap by twice as
# many, which is as basic-pitch itself does it.
MARGIN = 15
KEPT = FRAMES - 2 * MARGIN
STEP = KEPT * HOP

ONSET_THRESHOLD = 0.5  # The three defaults of basic-pitch.
NOTE_THRESHOLD = 0.3
MIN_FRAMES = 11  # 128 ms.

ONSET_TOLERANCE = 0.05  # Seconds by which a found note may be early or late; as is customary.
ROLL_WIDTH = 72  # Columns.


class Note(NamedTuple):
    """A note, as played or as found."""

    start: float  # Seconds.
    end: float
    key: int  # The MIDI number: 60 is C4, middle C.

    @property
    def name(self) -> str:
        """The name as "C4"."""
        return key_name(self.key)


# An arpeggio of C major, then a chord of F major.
MELODY = [
    Note(0.25, 0.75, 60),
    Note(0.75, 1.25, 64),
    Note(1.25, 1.75, 67),
    Note(1.75, 2.25, 72),
    Note(2.50, 4.00, 53),
    Note(2.50, 4.00, 65),
    Note(2.50, 4.00, 69),
    Note(2.50, 4.00, 72),
]


def key_name(key: int) -> str:
    """Return the name of the key with that MIDI number."""
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[key % 12]}{key // 12 - 1}"


def synthesise(notes: list[Note], sample_rate: int = SAMPLE_RATE) -> Samples:
    """Return the sound of plucked strings: six harmonics each, the higher the faster they fade."""
    audio = np.zeros(round((max(note.end for note in notes) + 0.5) * sample_rate), np.float32)
    for note in notes:
        frequency = 440.0 * 2.0 ** ((note.key - 69) / 12)
        length = note.end - note.start
        t = np.arange(round(length * sample_rate)) / sample_rate
        sound = np.zeros_like(t)
        for k in range(1, 7):
            sound += np.exp(-1.5 * k * t) * np.sin(2 * np.pi * k * frequency * t) / k**2
        sound *= np.minimum(1.0, t / 0.005) * np.minimum(1.0, (length - t) / 0.03)
        first = round(note.start * sample_rate)
        audio[first : first + len(t)] += 0.2 * sound
    return audio


def read_wav(path: Path) -> Samples:
    """Return the mono sound of an uncompressed WAV file at SAMPLE_RATE."""
    with wave.open(str(path), "rb") as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        data = np.frombuffer(file.readframes(file.getnframes()), np.uint8)
    if width == 1:
        values = data.astype(np.float64) / 128 - 1  # The only width that is unsigned.
    else:
        # To the high bytes of an int32, which makes 16, 24 and 32 bits the same.
        wide = np.zeros((len(data) // width, 4), np.uint8)
        wide[:, 4 - width :] = data.reshape(-1, width)
        values = wide.view("<i4")[:, 0] / 2.0**31
    mono = values.reshape(-1, channels).mean(axis=1)
    if len(mono) == 0:
        raise ValueError(f"{path}: no sound in it")
    # Resamples by cutting or extending the spectrum: what is above half the new rate is gone.
    length = round(len(mono) * SAMPLE_RATE / rate)
    return (np.fft.irfft(np.fft.rfft(mono), length) * (length / len(mono))).astype(np.float32)


def transcribe(
    signature: savedmodel.Signature, audio: Samples
) -> tuple[Activations, Activations, list[float]]:
    """Return how likely each key sounds, and begins, in each frame; and seconds per window."""
    windows = -(-len(audio) // STEP)
    # In aligned memory, where each window begins at a multiple of the alignment as well, the
    # model reads the windows in place although they overlap.
    padded = savedmodel.aligned_empty(((windows - 1) * STEP + WINDOW,), np.float32)
    padded[:] = 0
    # Frame 0 of what is kept lies MARGIN frames into the first window.
    padded[MARGIN * HOP :][: len(audio)] = audio

    sounds, begins, seconds = [], [], []
    for first in range(0, windows * STEP, STEP):
        window = padded[first : first + WINDOW].reshape(1, WINDOW, 1)
        start = time.perf_counter()
        # The model also tells pitches in thirds of a semitone ("contour"): not asked for, and
        # so not fetched.
        outputs = signature.run({"input_2": window}, outputs=["note", "onset"])
        seconds.append(time.perf_counter() - start)
        sounds.append(outputs["note"][0, MARGIN : MARGIN + KEPT])
        begins.append(outputs["onset"][0, MARGIN : MARGIN + KEPT])
    return np.concatenate(sounds), np.concatenate(begins), seconds


def decode(sounds: Activations, begins: Activations) -> list[Note]:
    """Return the notes, sorted by start: from a peak of an onset for as long as the key sounds."""
    notes = []
    for index in range(sounds.shape[1]):
        onset = begins[:, index]
        peaks = 1 + np.flatnonzero(
            (onset[1:-1] >= ONSET_THRESHOLD)
            & (onset[1:-1] >= onset[:-2])
            & (onset[1:-1] > onset[2:])
        )
        for first, limit in itertools.pairwise([*peaks.tolist(), len(onset)]):
            silent = np.flatnonzero(sounds[first:limit, index] < NOTE_THRESHOLD)
            last = first + int(silent[0]) if len(silent) else limit
            if last - first >= MIN_FRAMES:
                seconds = HOP / SAMPLE_RATE
                notes.append(Note(first * seconds, last * seconds, LOWEST_KEY + index))
    return sorted(notes)


def draw(notes: list[Note], duration: float) -> list[str]:
    """Return the lines of a piano roll: a row for each key that sounds, time to the right."""
    ink = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    columns = ROLL_WIDTH / duration
    lines = []
    for key in sorted({note.key for note in notes}, reverse=True):
        row = ["."] * ROLL_WIDTH
        for note in notes:
            if note.key == key:
                first, last = int(note.start * columns), int(note.end * columns)
                row[first : last + 1] = ink * (min(last, ROLL_WIDTH - 1) - first + 1)
        lines.append(f"  {key_name(key):>3} {''.join(row)}")
    ruler = ""
    for second in range(0, int(duration) + 1, max(1, int(duration / 8))):
        ruler = ruler.ljust(int(second * columns)) + f"{second} s"
    return [*lines, f"      {ruler}"]


def compare(played: list[Note], found: list[Note]) -> list[str]:
    """Return the lines of a table of the notes that were played, with how they were found."""
    lines = ["  played                  found"]
    others = list(found)
    for note in played:
        line = f"  {note.name:<3} {note.start:5.2f} to {note.end:4.2f} s"
        for other in others:
            if other.key == note.key and abs(other.start - note.start) <= ONSET_TOLERANCE:
                others.remove(other)
                line += f"     {other.name:<3} {other.start:5.2f} to {other.end:4.2f} s"
                break
        else:
            line += "     missed"
        lines.append(line)
    lines += [f"{'  not played':<26}{o.name:<3} {o.start:5.2f} to {o.end:4.2f} s" for o in others]
    hits = len(found) - len(others)
    lines += ["", f"{hits} of {len(played)} notes found, {len(others)} found that were not played"]
    return lines


def main() -> None:
    """Transcribe a WAV file, or the built-in melody, and print what was found."""
    parser = argparse.ArgumentParser(description="Transcribe music with basic-pitch's SavedModel.")
    parser.add_argument("wav", nargs="?", type=Path, help="a WAV file (default: a short melody)")
    wav: Path | None = parser.parse_args().wav
    path = fetch("basic-pitch")
    audio = synthesise(MELODY) if wav is None else read_wav(wav)
    duration = len(audio) / SAMPLE_RATE

    start = time.perf_counter()
    model = savedmodel.load(path)  # The first use of the package, which loads TensorFlow itself.
    load_seconds = time.perf_counter() - start
    model_seconds = sum(phase.seconds for phase in model.load_report.values())

    sounds, begins, seconds = transcribe(model.signatures["serving_default"], audio)
    found = decode(sounds, begins)

    for line in draw(found, duration):
        print(line)
    print()
    if wav is None:
        for line in compare(MELODY, found):
            print(line)
    else:
        for note in found:
            print(f"  {note.name:<3} {note.start:5.2f} to {note.end:4.2f} s")
        print(f"\n{len(found)} notes found")
    print()
    print(f"load          {load_seconds * 1e3:.0f} ms, {model_seconds * 1e3:.0f} of it the model")
    print(f"first window  {seconds[0] * 1e3:.0f} ms, in which TensorFlow also optimises the graph")
    if len(seconds) > 1:
        later = float(np.median(seconds[1:]))
        print(f"each further  {later * 1e3:.1f} ms, for {STEP / SAMPLE_RATE:.2f} s of new sound")
    print(f"copied        {savedmodel.copy_stats().count} arrays")


if __name__ == "__main__":
    main()
