import ExpertParallelism
import ExpertPlacement

/// What `moe-worker generate` is asked to do.
public struct GenerationOptions: Sendable {
    /// A checkpoint that training saved: `config.json`, weights and `meta.json`.
    public var model: String
    public var prompt: String
    /// Tokens to generate at most.
    public var length: Int
    public var temperature: Double
    public var topK: Int
    public var seed: UInt64
    /// Tokens before the next one that the model sees at most; nil: as many as its configuration allows.
    public var contextLength: Int?
    public var allocator = Allocators.defaultName
    public var dispatcher = TokenDispatchers.defaultName

    public init(model: String, prompt: String, length: Int, temperature: Double, topK: Int, seed: UInt64) {
        self.model = model
        self.prompt = prompt
        self.length = length
        self.temperature = temperature
        self.topK = topK
        self.seed = seed
    }

    /// - Throws: `WorkerError` that names the flag and what it takes.
    public func validate() throws(WorkerError) {
        guard length >= 0 else { throw .usage("--length must be at least 0, not \(length)") }
        if let contextLength, contextLength < 1 {
            throw .usage("--context-length must be at least 1, not \(contextLength)")
        }
        guard topK >= 0 else { throw .usage("--top-k must be at least 0, not \(topK)") }
        guard temperature.isFinite, temperature >= 0 else {
            throw .usage("--temperature must be a finite number from 0, not \(temperature)")
        }
        try PlacementChoice.validate(allocator: allocator, dispatcher: dispatcher, hasCoordinator: false)
    }
}
