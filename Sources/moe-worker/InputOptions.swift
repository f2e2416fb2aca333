import ArgumentParser
import Layers
import Tensors
import WorkerRuntime

/// What to train on.
struct InputOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Directory with train.bin and, to validate, val.bin: little-endian tokens, of 16 bits, or of 32 when its meta.json "
                + "says so.",
            valueName: "dir"))
    var data: String

    @Option(help: ArgumentHelp("A Hugging Face checkpoint of a mixture of experts to begin with.", valueName: "dir"))
    var model: String?

    @Option(help: ArgumentHelp("A model's config.json; the weights are drawn from the seed.", valueName: "file"))
    var modelConfig: String?

    @Option(help: ArgumentHelp("Steps to train.", valueName: "n"))
    var steps: Int

    @Option(help: ArgumentHelp("Sequences in the global batch.", valueName: "b"))
    var batchSize: Int

    @Option(help: ArgumentHelp("Tokens a sequence.", valueName: "t"))
    var sequenceLength: Int

    @Option(help: ArgumentHelp("Parts that a batch is computed in, one after another.", valueName: "n"))
    var microBatches = 1

    @Option(
        help: ArgumentHelp(
            "What a layer computes again in backward instead of keeping it, to save memory: none, attention, experts, or full "
                + "(all of it); results have the same bits.", valueName: "what"))
    var recompute = Recomputation.none

    @Option(
        help: ArgumentHelp(
            "Factors of matrix products: fp32, or bf16 on processors that multiply it; products are summed, and weights kept, in "
                + "fp32.", valueName: "type"))
    var dtype = Precision.float32

    @Option(
        help: ArgumentHelp(
            "Library for matrix products: auto (oneDNN for what it is faster at, where it is installed), or openblas.",
            valueName: "name"))
    var blas = MatrixLibrary.automatic

    @Option(
        help: ArgumentHelp("sequential: from the beginning on; random: sequences from anywhere.", valueName: "order"))
    var dataOrder = TrainingOptions.DataOrder.random

    @Option(help: ArgumentHelp("Decides initial weights, random order and replicas.", valueName: "n"))
    var seed: UInt64 = 0

    func apply(to options: inout TrainingOptions) {
        options.model = model
        options.modelConfiguration = modelConfig
        options.microBatches = microBatches
        options.recomputation = recompute
        options.dataOrder = dataOrder
        options.seed = seed
        options.precision = dtype
        options.matrixLibrary = blas
    }
}

extension TrainingOptions.DataOrder: ExpressibleByArgument {}
extension Recomputation: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}
extension MatrixLibrary: ExpressibleByArgument {}
