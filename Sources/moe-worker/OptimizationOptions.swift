import ArgumentParser
import Layers
import WorkerRuntime

/// How the weights are changed.
struct OptimizationOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The learning rate after warm-up.", valueName: "x"))
    var learningRate = 1e-3

    @Option(help: ArgumentHelp("After warm-up: constant, or a cosine down to the minimum.", valueName: "shape"))
    var learningRateSchedule = LearningRateSchedule.Shape.constant

    @Option(help: ArgumentHelp("What the cosine ends at.", valueName: "x"))
    var minimumLearningRate = 0.0

    @Option(help: ArgumentHelp("Steps in which the learning rate grows to its full size.", valueName: "n"))
    var warmupSteps = 0

    @Option(help: ArgumentHelp("AdamW's decay of the first moment.", valueName: "x"))
    var beta1 = 0.9

    @Option(help: ArgumentHelp("AdamW's decay of the second moment.", valueName: "x"))
    var beta2 = 0.999

    @Option(help: ArgumentHelp("AdamW's epsilon.", valueName: "x"))
    var epsilon = 1e-8

    @Option(help: ArgumentHelp("AdamW's decay of matrices.", valueName: "x"))
    var weightDecay = 0.0

    @Option(help: ArgumentHelp("Largest global gradient norm; 0: any.", valueName: "x"))
    var gradientClip = 1.0

    @Option(
        help: ArgumentHelp(
            "Coefficient of the load-balancing loss (default: the model's router_aux_loss_coef where output_router_logits is true "
                + "or absent, 0 where it is false or both are absent; of deepseek aux_loss_alpha, unless it is false).",
            valueName: "x"))
    var auxiliaryLoss: Double?

    @Option(
        name: .customLong("on-nonfinite"),
        help: ArgumentHelp("When a loss or gradient is not finite: stop, or skip the step.", valueName: "what"))
    var onNonFinite = TrainingOptions.OnNonFinite.stop

    @Option(
        help: ArgumentHelp(
            "An expert takes so many times the mean number of tokens in training; others are dropped (default: it takes all).",
            valueName: "x"))
    var capacityFactor: Double?

    @Option(
        help: ArgumentHelp(
            "Who keeps a place at a full expert: the first tokens of the batch (position), or the largest weights (score).",
            valueName: "policy"))
    var dropPolicy: ExpertCapacity.DropPolicy?

    @Flag(help: "Fills up each expert's tokens with zeros to its capacity, so that shapes are always the same.")
    var padToCapacity = false

    func validate() throws {
        guard capacityFactor == nil else { return }
        if dropPolicy != nil { throw ValidationError("--drop-policy needs --capacity-factor") }
        if padToCapacity { throw ValidationError("--pad-to-capacity needs --capacity-factor") }
    }

    func schedule(steps: Int) -> LearningRateSchedule {
        LearningRateSchedule(
            shape: learningRateSchedule, learningRate: learningRate, minimum: minimumLearningRate,
            warmupSteps: warmupSteps, steps: steps)
    }

    func apply(to options: inout TrainingOptions) {
        options.beta1 = beta1
        options.beta2 = beta2
        options.epsilon = epsilon
        options.weightDecay = weightDecay
        options.gradientClip = gradientClip
        options.auxiliaryLoss = auxiliaryLoss
        options.onNonFinite = onNonFinite
        options.capacity = capacityFactor.map {
            ExpertCapacity(factor: $0, dropPolicy: dropPolicy ?? .position, pads: padToCapacity)
        }
    }
}

extension LearningRateSchedule.Shape: ExpressibleByArgument {}
extension TrainingOptions.OnNonFinite: ExpressibleByArgument {}
extension ExpertCapacity.DropPolicy: ExpressibleByArgument {}
