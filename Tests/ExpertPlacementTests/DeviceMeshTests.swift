import ExpertPlacement
import Foundation
import Testing

@Suite struct DeviceMeshTests {
    @Test func everyRankHasOnePosition() throws {
        for replicas in 1...4 {
            for shards in 1...4 {
                let ranks = (0..<replicas * shards).map { ($0 * 7 + 3) % 17 }
                let mesh = try DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: ranks)
                for replica in 0..<replicas {
                    #expect(
                        Array(mesh.ranks(ofReplica: replica))
                            == (0..<shards).map { mesh.rank(replica: replica, shard: $0) })
                    for shard in 0..<shards {
                        let position = mesh.position(of: mesh.rank(replica: replica, shard: shard))
                        #expect(position?.replica == replica)
                        #expect(position?.shard == shard)
                    }
                }
                #expect((0..<20).filter { mesh.position(of: $0) != nil } == ranks.sorted())
            }
        }
    }

    @Test(arguments: [
        (0, 1, [Int](), "has no rank"), (1, 0, [], "has no rank"), (-1, -1, [0], "has no rank"),
        (2, 2, [0, 1, 2], "3 are listed"), (1, 1, [], "0 are listed"), (1, 1, [0, 1], "2 are listed"),
        (Int.max, 2, [0], "1 are listed"), (1, 2, [0, -1], "rank -1 is negative"),
        (1, 2, [4, 4], "rank 4 stands twice"),
        (2, 2, [0, 1, 2, 0], "rank 0 stands twice"),
    ])
    func refusesWhatIsNoMesh(replicas: Int, shards: Int, ranks: [Int], reason: String) {
        let error = #expect(throws: PlacementError.self) {
            _ = try DeviceMesh(dataParallel: replicas, tensorParallel: shards, ranks: ranks)
        }
        #expect(error.map { "\($0)" }?.contains(reason) == true, "\(String(describing: error))")
    }

    @Test func codes() throws {
        let mesh = try DeviceMesh(dataParallel: 2, tensorParallel: 3, ranks: [5, 4, 3, 2, 1, 0])
        let data = try JSONEncoder().encode(mesh)
        #expect(try JSONDecoder().decode(DeviceMesh.self, from: data) == mesh)
        let text = #"{"data_parallel":2,"tensor_parallel":3,"ranks":[5,4,3,2,1,0]}"#
        #expect(try JSONDecoder().decode(DeviceMesh.self, from: Data(text.utf8)) == mesh)
    }

    @Test(arguments: [
        #"{"data_parallel":1,"tensor_parallel":2,"ranks":[1,1]}"#,
        #"{"data_parallel":0,"tensor_parallel":2,"ranks":[]}"#,
        #"{"data_parallel":9223372036854775807,"tensor_parallel":9223372036854775807,"ranks":[0]}"#,
    ])
    func decodingRefusesWhatIsNoMesh(text: String) {
        #expect(throws: PlacementError.self) { try JSONDecoder().decode(DeviceMesh.self, from: Data(text.utf8)) }
    }

    @Test func isReadable() throws {
        let mesh = try DeviceMesh(dataParallel: 2, tensorParallel: 2, ranks: [0, 1, 2, 3])
        #expect("\(mesh)" == "2×2 [0 1] [2 3]")
    }
}
