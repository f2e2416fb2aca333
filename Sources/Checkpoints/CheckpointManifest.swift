import ExpertPlacement
import Foundation
import Safetensors

/// What a checkpoint is of, and which files it has: `checkpoint.json`, written last, so that with it the checkpoint is whole.
public struct CheckpointManifest: Hashable, Sendable {
    /// The version of the layout that this code writes and reads.
    public static let formatVersion = 1
    public static let name = "checkpoint.json"
    /// Which of several files has which weight.
    static let modelIndex = "model.safetensors.index.json"
    /// The largest manifest that is read.
    static let limitBytes = 256 << 20
    /// Steps and other counts go up to here, which every JSON reader keeps.
    static let limit = 1 << 53
    /// What a run that goes on counts further may be so large: no run counts from here to the limit.
    package static let largestNumber = 1 << 52

    /// What decides on the batches that follow, and so must be the same when the run goes on.
    public struct Data: Codable, Hashable, Sendable {
        public var seed: UInt64
        /// `sequential` or `random`.
        public var order: String
        /// B, sequences in the global batch.
        public var batchSize: Int
        /// T, tokens a sequence.
        public var sequenceLength: Int
        /// Tokens in `train.bin`.
        public var tokens: Int
        /// The SHA-256 of samples of them, which tells files of one length apart; nil in checkpoints from before there was one.
        public var tokensDigest: String?

        public init(
            seed: UInt64, order: String, batchSize: Int, sequenceLength: Int, tokens: Int, tokensDigest: String? = nil
        ) {
            self.seed = seed
            self.order = order
            self.batchSize = batchSize
            self.sequenceLength = sequenceLength
            self.tokens = tokens
            self.tokensDigest = tokensDigest
        }

        private enum CodingKeys: String, CodingKey {
            case seed, order, tokens
            case batchSize = "batch_size"
            case sequenceLength = "sequence_length"
            case tokensDigest = "tokens_digest"
        }
    }

    public var run: String
    public var incarnation: Int
    /// Steps done.
    public var step: Int
    /// Updates of the weights, fewer than steps when some were skipped.
    public var updates: Int
    public var data: Data
    /// Where experts were. Of a plan that was being applied, some layers are there already.
    public var plan: PlacementPlan
    /// The largest revision that a plan of the run has had.
    public var largestRevision: Int
    /// By whose rule the run's plans are made.
    public var allocator: String
    public var ownership: OwnershipPolicy
    /// UTC, as ISO 8601 has it.
    public var createdAt: String
    public var files: [CheckpointFile]

    public init(
        run: String, incarnation: Int, step: Int, updates: Int, data: Data, plan: PlacementPlan, largestRevision: Int,
        allocator: String, ownership: OwnershipPolicy, createdAt: Date, files: [CheckpointFile] = []
    ) {
        self.run = run
        self.incarnation = incarnation
        self.step = step
        self.updates = updates
        self.data = data
        self.plan = plan
        self.largestRevision = largestRevision
        self.allocator = allocator
        self.ownership = ownership
        self.createdAt = createdAt.formatted(.iso8601)
        self.files = files
    }

    /// W, the number of ranks that wrote it.
    public var worldSize: Int { plan.worldSize }
    /// Of all files but the manifest.
    public var bytes: Int { files.reduce(0) { $0 + $1.bytes } }
    public var fileNames: Set<String> { Set(files.map(\.name)) }
}

extension CheckpointManifest {
    /// Reads and checks `DIRECTORY/checkpoint.json`.
    /// - Throws: `CheckpointError` that names the file.
    init(directory: String) throws(CheckpointError) {
        let path = "\(directory)/\(Self.name)"
        guard Disk.exists(path) else {
            throw CheckpointError(
                .damaged, path, "is missing, and so \(directory) is no whole checkpoint")
        }
        let json = try Disk.read(path, limitBytes: Self.limitBytes)
        do {
            // First of all, for what follows may be otherwise in another version.
            let version = try JSONDecoder().decode(Version.self, from: json).format
            guard version == Self.formatVersion else {
                throw CheckpointError(
                    .unsuitable, path, "has the format \(version), and this program reads format \(Self.formatVersion)")
            }
            self = try JSONDecoder().decode(Self.self, from: json)
            try check(path: path)
            try Self.checkDigest(of: json, path: path)
        } catch let error as CheckpointError {
            throw error
        } catch {
            throw CheckpointError(
                .damaged, path, "is not what a checkpoint's manifest has to be: \(DecodingError.reason(error))")
        }
    }

    private struct Version: Decodable { let format: Int }

    /// How a file with a digest begins. Earlier releases wrote none.
    private static let opening = Foundation.Data(#"{"digest":""#.utf8)

    /// Finds what has other bytes than were written, though it may be a manifest.
    private static func checkDigest(of json: Foundation.Data, path: String) throws {
        guard json.starts(with: opening) else {
            let known = Set(CodingKeys.allCases.map(\.rawValue))
            let names = try JSONDecoder().decode([String: Anything].self, from: json).keys
            // It may be the digest's name that is damaged.
            guard let surplus = names.filter({ !known.contains($0) }).min() else { return }
            throw CheckpointError(
                .damaged, path,
                "is damaged: it has a field \"\(surplus.prefix(100))\", and does not begin with its digest")
        }
        let rest = json.dropFirst(opening.count)
        guard digest(of: rest.dropFirst(sha256Digits)) == String(decoding: rest.prefix(sha256Digits), as: UTF8.self)
        else {
            throw CheckpointError(.damaged, path, "is damaged: its digest is not that of what was written")
        }
    }

    private struct Anything: Decodable {
        init(from decoder: any Decoder) {}
    }

    /// The SHA-256 of a file but for the digest.
    /// - Parameter rest: what follows the digest.
    private static func digest(of rest: Foundation.Data) -> String {
        let hash = RunningHash()
        for part in [opening, rest] { part.withUnsafeBytes { hash.update($0) } }
        return hash.digest
    }

    /// Anything may stand in a file.
    private func check(path: String) throws(CheckpointError) {
        func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(CheckpointError) {
            if !condition { throw CheckpointError(.damaged, path, message()) }
        }
        for (name, value) in [
            ("incarnation", incarnation), ("step", step), ("updates", updates), ("largest_revision", largestRevision),
            ("tokens", data.tokens), ("batch_size", data.batchSize), ("sequence_length", data.sequenceLength),
        ] {
            try require((0...Self.limit).contains(value), "\(name) is \(value), which cannot be")
        }
        try require(updates <= step, "\(updates) updates in \(step) steps cannot be")
        try require(
            plan.revision <= largestRevision, "revision \(plan.revision) is above the largest, \(largestRevision)")
        for (name, text) in [("run", run), ("allocator", allocator), ("order", data.order)] {
            try require((1...1024).contains(text.utf8.count), "\(name) has \(text.utf8.count) bytes")
        }
        if let digest = data.tokensDigest { try require(Self.isSHA256(digest), "tokens_digest is no SHA-256") }
        let names = fileNames
        try require(names.count == files.count, "a file is listed twice")
        var bytes = 0
        for file in files {
            try require(
                Self.isPlain(file.name), "\"\(file.name.prefix(100))\" is not a plain file name")
            try require(
                (0...Self.limit - bytes).contains(file.bytes), "\(file.name) would have \(file.bytes) bytes")
            bytes += file.bytes
            try require(Self.isSHA256(file.sha256), "the sha256 of \(file.name) is none")
        }
        let needed = ["config.json"] + (0..<worldSize).map { Self.optimizerFile(rank: $0, worldSize: worldSize) }
        for name in needed { try require(names.contains(name), "does not list \(name)") }
        try require(
            Self.haveWeights(names), "does not list all weights: model.safetensors, or \(Self.modelIndex) and each part"
        )
    }

    /// Whether these are the files of all weights: one, or the index and as many parts as the first says.
    private static func haveWeights(_ names: Set<String>) -> Bool {
        if names.contains(modelFile(part: 0, of: 1)) { return true }
        guard names.contains(modelIndex) else { return false }
        return (2...max(2, names.count)).contains { parts in
            (0..<parts).allSatisfy { names.contains(modelFile(part: $0, of: parts)) }
        }
    }

    private static let sha256Digits = 64

    private static func isSHA256(_ text: String) -> Bool {
        text.utf8.count == sha256Digits && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    /// Whether a name leads out of the directory, or to the manifest.
    private static func isPlain(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && name != Self.name && !name.hasPrefix(".")
            && !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0)
    }

    /// The file of what a rank owns of the moments; files count from 1, as Hugging Face's do.
    static func optimizerFile(rank: Int, worldSize: Int) -> String { numbered("optimizer", rank, of: worldSize) }

    /// The file of one part of the weights.
    static func modelFile(part: Int, of parts: Int) -> String {
        parts == 1 ? "model.safetensors" : numbered("model", part, of: parts)
    }

    private static func numbered(_ name: String, _ index: Int, of count: Int) -> String {
        String(format: "\(name)-%05d-of-%05d.safetensors", index + 1, count)
    }

    /// The file, with its digest before all other fields.
    func json() throws -> Foundation.Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let fields = try encoder.encode(self).dropFirst()
        let rest = Foundation.Data(#"","#.utf8) + fields + Foundation.Data([0x0a])
        return Self.opening + Foundation.Data(Self.digest(of: rest).utf8) + rest
    }
}

extension CheckpointManifest: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case format, run, incarnation, step, updates, data, plan, allocator, ownership, files
        case worldSize = "world_size"
        case largestRevision = "largest_revision"
        case createdAt = "created_at"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        run = try values.decode(String.self, forKey: .run)
        incarnation = try values.decode(Int.self, forKey: .incarnation)
        step = try values.decode(Int.self, forKey: .step)
        updates = try values.decode(Int.self, forKey: .updates)
        data = try values.decode(Data.self, forKey: .data)
        plan = try values.decode(PlacementPlan.self, forKey: .plan)
        largestRevision = try values.decode(Int.self, forKey: .largestRevision)
        allocator = try values.decode(String.self, forKey: .allocator)
        ownership = try values.decode(OwnershipPolicy.self, forKey: .ownership)
        createdAt = try values.decode(String.self, forKey: .createdAt)
        files = try values.decode([CheckpointFile].self, forKey: .files)
        let worldSize = try values.decode(Int.self, forKey: .worldSize)
        guard worldSize == plan.worldSize else {
            throw DecodingError.dataCorruptedError(
                forKey: .worldSize, in: values,
                debugDescription: "world_size is \(worldSize), but the plan is for \(plan.worldSize) ranks")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(Self.formatVersion, forKey: .format)
        try values.encode(run, forKey: .run)
        try values.encode(incarnation, forKey: .incarnation)
        try values.encode(step, forKey: .step)
        try values.encode(updates, forKey: .updates)
        try values.encode(data, forKey: .data)
        try values.encode(worldSize, forKey: .worldSize)
        try values.encode(plan, forKey: .plan)
        try values.encode(largestRevision, forKey: .largestRevision)
        try values.encode(allocator, forKey: .allocator)
        try values.encode(ownership, forKey: .ownership)
        try values.encode(createdAt, forKey: .createdAt)
        try values.encode(files, forKey: .files)
    }
}
