// Transcribes a short melody, synthesised here, with basic-pitch's published SavedModel.
//
//   basic_pitch "$(python examples/fetch_models.py basic-pitch)"
//
// The same as basic_pitch.py, which says more of the model. Needs no Python to run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iterator>
#include <string>
#include <vector>

#include "savedmodel/savedmodel.h"

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kSampleRate = 22050;
constexpr int kWindow = 43844;  // samples that the model takes at once
constexpr int kHop = 256;       // samples from one frame of its answer to the next
constexpr int kFrames = 172;    // frames of its answer to one window
constexpr int kKeys = 88;
constexpr int kLowestKey = 21;  // the MIDI number of the first key: A0

// The first and last frames of a window lack their surroundings: windows overlap by twice
// as many.
constexpr int kMargin = 15;
constexpr int kKept = kFrames - 2 * kMargin;
constexpr int kStep = kKept * kHop;
static_assert(kStep * sizeof(float) % savedmodel::kTensorAlignment == 0,
              "every window begins at an aligned address");

constexpr float kOnsetThreshold = 0.5f;  // the three defaults of basic-pitch
constexpr float kNoteThreshold = 0.3f;
constexpr int kMinFrames = 11;

constexpr double kOnsetTolerance = 0.05;  // seconds

struct Note {
  double start;  // seconds
  double end;
  int key;  // MIDI number: 60 is C4, middle C

  std::string Name() const {
    static constexpr const char* kNames[] = {"C",  "C#", "D",  "D#", "E",  "F",
                                             "F#", "G",  "G#", "A",  "A#", "B"};
    return kNames[key % 12] + std::to_string(key / 12 - 1);
  }
};

// An arpeggio of C major, then a chord of F major.
constexpr Note kMelody[] = {
    {0.25, 0.75, 60}, {0.75, 1.25, 64}, {1.25, 1.75, 67}, {1.75, 2.25, 72},
    {2.50, 4.00, 53}, {2.50, 4.00, 65}, {2.50, 4.00, 69}, {2.50, 4.00, 72},
};
constexpr double kDuration = 4.5;  // seconds

// Plucked strings: six harmonics each, the higher the faster they fade.
std::vector<float> Synthesise() {
  std::vector<float> audio(static_cast<std::size_t>(kDuration * kSampleRate));
  for (const Note& note : kMelody) {
    const double frequency = 440 * std::exp2((note.key - 69) / 12.0);
    const double length = note.end - note.start;
    const auto first = static_cast<std::size_t>(std::lround(note.start * kSampleRate));
    const auto samples = static_cast<std::size_t>(std::lround(length * kSampleRate));
    for (std::size_t i = 0; i < samples; ++i) {
      const double t = static_cast<double>(i) / kSampleRate;
      double sound = 0;
      for (int k = 1; k <= 6; ++k) {
        sound += std::exp(-1.5 * k * t) * std::sin(2 * kPi * k * frequency * t) / (k * k);
      }
      sound *= std::min(1.0, t / 0.005) * std::min(1.0, (length - t) / 0.03);
      audio[first + i] += static_cast<float>(0.2 * sound);
    }
  }
  return audio;
}

// How likely each key sounds, and begins, in each frame: kKeys values for each frame.
struct Activations {
  std::vector<float> sounds;
  std::vector<float> begins;
};

double MillisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() -
                                                   start)
      .count();
}

Activations Transcribe(const savedmodel::Signature& signature,
                       const std::vector<float>& audio,
                       std::vector<double>* milliseconds) {
  const std::size_t windows = (audio.size() + kStep - 1) / kStep;
  // A tensor's memory is aligned, and so is that of each window in it: the model reads
  // the windows in place although they overlap.
  savedmodel::Tensor padded(savedmodel::DataType::kFloat,
                            {static_cast<std::int64_t>((windows - 1) * kStep + kWindow)});
  float* samples = padded.mutable_data<float>();
  std::fill_n(samples, padded.num_elements(), 0.0f);
  // Frame 0 of what is kept lies kMargin frames into the first window.
  std::copy(audio.begin(), audio.end(), samples + kMargin * kHop);

  Activations activations;
  for (std::size_t i = 0; i < windows; ++i) {
    const auto window = savedmodel::Tensor::View(samples + i * kStep, {1, kWindow, 1});
    const auto start = std::chrono::steady_clock::now();
    const savedmodel::TensorMap outputs =
        signature.Run({{"input_2", window}}, {"note", "onset"});
    milliseconds->push_back(MillisecondsSince(start));
    const auto keep = [](const savedmodel::Tensor& output, std::vector<float>* all) {
      const float* values = output.data<float>();
      all->insert(all->end(), values + kMargin * kKeys,
                  values + (kMargin + kKept) * kKeys);
    };
    keep(outputs.at("note"), &activations.sounds);
    keep(outputs.at("onset"), &activations.begins);
  }
  return activations;
}

// The notes, sorted by start: from a peak of an onset for as long as the key sounds.
std::vector<Note> Decode(const Activations& activations) {
  const int frames = static_cast<int>(activations.sounds.size()) / kKeys;
  std::vector<Note> notes;
  for (int key = 0; key < kKeys; ++key) {
    const auto at = [key](const std::vector<float>& values, int frame) {
      return values[static_cast<std::size_t>(frame * kKeys + key)];
    };
    const auto is_peak = [&](int frame) {
      const float onset = at(activations.begins, frame);
      return frame > 0 && frame + 1 < frames && onset >= kOnsetThreshold &&
             onset >= at(activations.begins, frame - 1) &&
             onset > at(activations.begins, frame + 1);
    };
    for (int first = 0; first < frames; ++first) {
      if (!is_peak(first)) continue;
      int last = first;
      while (last < frames && at(activations.sounds, last) >= kNoteThreshold &&
             (last == first || !is_peak(last))) {
        ++last;
      }
      if (last - first >= kMinFrames) {
        notes.push_back(
            {first * kHop / kSampleRate, last * kHop / kSampleRate, kLowestKey + key});
      }
    }
  }
  std::stable_sort(notes.begin(), notes.end(),
                   [](const Note& a, const Note& b) { return a.start < b.start; });
  return notes;
}

void Run(const std::string& path) {
  const auto start = std::chrono::steady_clock::now();
  const auto model = savedmodel::Model::Load(path);
  const double load_ms = MillisecondsSince(start);

  std::vector<double> window_ms;
  const Activations activations =
      Transcribe(model.signature("serving_default"), Synthesise(), &window_ms);
  const std::vector<Note> found = Decode(activations);

  std::size_t hits = 0;
  for (const Note& note : found) {
    const bool played =
        std::any_of(std::begin(kMelody), std::end(kMelody), [&](const Note& other) {
          return note.key == other.key &&
                 std::abs(note.start - other.start) <= kOnsetTolerance;
        });
    hits += played ? 1 : 0;
    std::printf("  %-3s %5.2f to %4.2f s%s\n", note.Name().c_str(), note.start, note.end,
                played ? "" : "  (not played)");
  }
  std::printf("\n%zu of %zu notes found, %zu found that were not played\n\n", hits,
              std::size(kMelody), found.size() - hits);
  std::printf("load          %.0f ms\n", load_ms);
  std::printf("first window  %.0f ms, in which TensorFlow also optimises the graph\n",
              window_ms.front());
  for (std::size_t i = 1; i < window_ms.size(); ++i) {
    std::printf("window %zu      %.1f ms, for %.2f s of new sound\n", i + 1, window_ms[i],
                kStep / kSampleRate);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIR  (see fetch_models.py)\n", argv[0]);
    return 2;
  }
  try {
    Run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
