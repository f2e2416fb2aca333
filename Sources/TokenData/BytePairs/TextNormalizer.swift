/// What becomes of text before it is split.
enum TextNormalizer: Sendable {
    case none
    /// Unicode's normalisation form C, of the version that the `tokenizers` package has (`UnicodeTables`).
    case nfc

    /// Calls `body` with the normalised text, which is the given one where nothing changes.
    /// - Parameter text: valid UTF-8.
    func withNormalized<Failure>(
        _ text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        guard self == .nfc, let normalized = CanonicalComposition.normalize(text) else { return try body(text) }
        try normalized.withUnsafeBufferPointer(body)
    }
}

/// Unicode Standard Annex 15: characters are decomposed, their marks put in order, and composed again.
struct CanonicalComposition {
    private static let tables = CanonicalComposition()

    /// Full decompositions, without Hangul.
    private var decompositions: [UInt32: [UInt32]] = [:]
    /// What two scalars become, by the first in the upper half; without Hangul.
    private var compositions: [UInt64: UInt32] = [:]
    private var combiningClasses: [UInt32: UInt8] = [:]
    /// Scalars that may change, or change what is before them. All others stay as they are, and nothing moves across them.
    private var isActive = [Bool](repeating: false, count: 0x110000)

    private init() {
        for (range, combiningClass) in UnicodeTables.combiningClasses() {
            for value in range {
                combiningClasses[value] = combiningClass
                isActive[Int(value)] = true
            }
        }
        let entries = UnicodeTables.decompositions()
        for entry in entries {
            decompositions[entry.scalar] = entry.parts
            isActive[Int(entry.scalar)] = true
        }
        // The scalar that a decomposition stands for, to find the first half of those with more than two parts.
        var wholes: [[UInt32]: UInt32] = [:]
        for entry in entries where entry.isComposed { wholes[entry.parts] = entry.scalar }
        for entry in entries where entry.isComposed {
            let head = Array(entry.parts.dropLast())
            let last = entry.parts[entry.parts.count - 1]
            guard let first = head.count == 1 ? head[0] : wholes[head] else { continue }
            compositions[UInt64(first) << 32 | UInt64(last)] = entry.scalar
            isActive[Int(last)] = true
        }
        for value in Hangul.vowels { isActive[Int(value)] = true }
        for value in Hangul.trails { isActive[Int(value)] = true }
    }

    /// Hangul syllables are composed by rule (The Unicode Standard, section 3.12).
    private enum Hangul {
        static let leads: Range<UInt32> = 0x1100..<0x1113
        static let vowels: Range<UInt32> = 0x1161..<0x1176
        static let trails: Range<UInt32> = 0x11A8..<0x11C3
        static let syllables: Range<UInt32> = 0xAC00..<0xD7A4
        /// Trails, and none.
        static let trailCount: UInt32 = 28

        static func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
            if leads.contains(first), vowels.contains(second) {
                let pair = (first - leads.lowerBound) * 21 + second - vowels.lowerBound
                return syllables.lowerBound + pair * trailCount
            }
            if syllables.contains(first), (first - syllables.lowerBound) % trailCount == 0, trails.contains(second) {
                return first + second - trails.lowerBound + 1
            }
            return nil
        }
    }

    /// The form C of `text`; nil when that is what it has.
    static func normalize(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        // What is below U+0300 is active in no case.
        guard text.contains(where: { $0 >= 0xCC }) else { return nil }
        var output = [UInt8]()
        /// Up to here the text is in `output`.
        var copied = 0
        /// Active scalars, after the one before them.
        var run = [UInt32]()
        var runStart = 0
        var previous: (value: UInt32, start: Int)?
        var position = 0
        func finish() {
            guard !run.isEmpty else { return }
            let composed = tables.composed(run)
            if composed != run {
                output.append(contentsOf: text[copied..<runStart])
                for value in composed { output.append(contentsOf: UTF8.encode(Unicode.Scalar(value)!)!) }
                copied = position
            }
            run.removeAll(keepingCapacity: true)
        }
        var iterator = Unicode.UTF8.ForwardParser()
        var bytes = text.makeIterator()
        while case .valid(let encoded) = iterator.parseScalar(from: &bytes) {
            let value = Unicode.UTF8.decode(encoded).value
            if tables.isActive[Int(value)] {
                if run.isEmpty {
                    runStart = previous?.start ?? position
                    if let previous { run.append(previous.value) }
                }
                run.append(value)
            } else {
                finish()
            }
            previous = (value, position)
            position += encoded.count
        }
        finish()
        guard copied > 0 else { return nil }
        output.append(contentsOf: text[copied...])
        return output
    }

    private func composed(_ run: [UInt32]) -> [UInt32] {
        var parts = [UInt32]()
        for value in run {
            if let decomposition = decompositions[value] { parts += decomposition } else { parts.append(value) }
        }
        order(&parts)
        var result = [UInt32]()
        var starter: Int?
        /// The class of what stands last after the starter; nil: nothing does.
        var lastClass: UInt8?
        for value in parts {
            let combiningClass = combiningClasses[value] ?? 0
            if let starter, lastClass == nil || lastClass! < combiningClass,
                let whole = compositions[UInt64(result[starter]) << 32 | UInt64(value)]
                    ?? Hangul.compose(result[starter], value)
            {
                result[starter] = whole
                continue
            }
            if combiningClass == 0 {
                starter = result.count
                lastClass = nil
            } else {
                lastClass = combiningClass
            }
            result.append(value)
        }
        return result
    }

    /// Sorts marks that follow one another by their classes; those of the same class stay in order.
    private func order(_ parts: inout [UInt32]) {
        var start = 0
        while start < parts.count {
            var end = start
            while end < parts.count, combiningClasses[parts[end]] ?? 0 > 0 { end += 1 }
            if end - start > 1 {
                let marks = parts[start..<end].enumerated().sorted {
                    let classes = (combiningClasses[$0.element] ?? 0, combiningClasses[$1.element] ?? 0)
                    return classes.0 == classes.1 ? $0.offset < $1.offset : classes.0 < classes.1
                }
                parts.replaceSubrange(start..<end, with: marks.map(\.element))
            }
            start = max(end, start + 1)
        }
    }
}
