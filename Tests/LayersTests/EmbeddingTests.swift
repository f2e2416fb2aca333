import Layers
import Tensors
import Testing

@Suite struct EmbeddingTests {
    @Test func picksRowsAndAddsTheirGradients() {
        let embedding = Embedding(vocabularySize: 4, hiddenSize: 2)
        embedding.weight.value = Tensor([0, 1, 2, 3, 4, 5, 6, 7], rows: 4, columns: 2)
        #expect(embedding.forward([3, 0, 3], savingForBackward: true).array == [6, 7, 0, 1, 6, 7])
        embedding.backward(Tensor([1, 2, 3, 4, 10, 20], rows: 3, columns: 2))
        #expect(embedding.weight.gradient.array == [3, 4, 0, 0, 0, 0, 11, 22])
    }

    @Test func paddingIsNotTrained() {
        let embedding = Embedding(vocabularySize: 3, hiddenSize: 1, paddingToken: 1)
        _ = embedding.forward([0, 1, 2, 1], savingForBackward: true)
        embedding.backward(Tensor([5, 6, 7, 8], rows: 4, columns: 1))
        #expect(embedding.weight.gradient.array == [5, 0, 7])
    }

    @Test func takesNoTokens() {
        let embedding = Embedding(vocabularySize: 3, hiddenSize: 2)
        let y = embedding.forward([], savingForBackward: true)
        #expect(y.rows == 0 && y.columns == 2)
        embedding.backward(y)
    }
}
