import Checkpoints
import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Foundation
import MessagePassing
import Testing
import WorkerRuntime

@Suite struct CheckpointSaverTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// Whichever call fails on one rank, this rank ends with that error. Were it to go on to the next call, ranks that are in another
    /// would wait for ever.
    @Test func aCallThatFailsEndsTheRank() throws {
        let failure = CommunicatorError.library(call: "test", code: 1, reason: "it was told to fail")
        var failures = 0
        for call in 0..<200 {
            let directory = CheckpointDirectory(fixture.path("checkpoints-\(call)"))
            try directory.prepare()
            do {
                _ = try ThreadCommunicator.run(worldSize: 2) { group in
                    let (model, context, plan) = try TrainingFixture.model(on: group)
                    let optimizer = MoEOptimizer(model: model, context: context)
                    let communicator: any Communicator =
                        group.rank == 1 ? FailingCommunicator(group, atExchange: call, error: failure) : group
                    let saver = try CheckpointSaver(
                        directory, run: "tiny", incarnation: 1, keep: 1, communicator: communicator)
                    let manifest = CheckpointManifest(
                        run: "tiny", incarnation: 1, step: 1, updates: 0,
                        data: CheckpointManifest.Data(
                            seed: 7, order: "random", batchSize: 6, sequenceLength: 8, tokens: 600),
                        plan: plan, largestRevision: plan.revision, allocator: "expert-parallel",
                        ownership: optimizer.ownership, createdAt: Date())
                    _ = try saver.save(manifest, model: model, optimizer: optimizer)
                }
                #expect(try directory.steps() == [1])
                break
            } catch let error as CommunicatorError {
                #expect(error == failure, "call \(call)")
                failures += 1
            }
        }
        #expect((10..<200).contains(failures), "a checkpoint has \(failures) calls")
    }
}
