"""Convolutions as a user writes them; see `neurofdfa.nn.linear`."""

import torch
from torch import Tensor
from torch.nn import functional

from neurofdfa.errors import UserError
from neurofdfa.nn.linear import Weights


class Conv2d(Weights):
    """The same small patch of weights at every position of an image; a cross-correlation as in
    `torch.nn.Conv2d`.

    in_channels, out_channels: of the image below and of the neurons. kernel_size: rows and columns of a
    patch, or one number for both. stride: steps between patches. padding: silent rows and columns around the
    image. bias, weight_bits, generator: as for `Linear`.
    weight: `[out_channels, in_channels, *kernel_size]`. Raises `UserError` for sizes that make no sense.

    >>> drive, _ = Conv2d(1, 8, 3, padding=1)(torch.rand(2, 1, 8, 8))
    >>> drive.shape
    torch.Size([2, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        *,
        weight_bits: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(kernel) != 2 or min(in_channels, out_channels, *kernel, stride) < 1 or padding < 0:
            raise UserError(
                "a convolution needs channels, kernel_size (one number or two) and stride of 1 or more and "
                f"padding of 0 or more, got {in_channels} to {out_channels} channels, kernel_size "
                f"{kernel_size}, stride {stride}, padding {padding}"
            )
        super().__init__(torch.zeros(out_channels, in_channels, *kernel), bias, weight_bits, generator)
        self.kernel_size: tuple[int, int] = (kernel[0], kernel[1])
        self.stride = stride
        self.padding = padding

    @property
    def in_channels(self) -> int:
        """Channels of the image below."""
        return self.weight.shape[1]

    @property
    def out_channels(self) -> int:
        """Channels of the neurons."""
        return self.weight.shape[0]

    def image(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """What becomes of an image (channels, rows, columns); raises `UserError` where it does not fit."""
        if shape[0] != self.in_channels:
            raise UserError(f"it takes {self.in_channels} channels and finds {shape[0]} below it")
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        rows, columns = ((n + 2 * padding - k) // stride + 1 for n, k in zip(shape[1:], kernel, strict=True))
        if rows < 1 or columns < 1:
            raise UserError(
                f"a kernel of {kernel[0]} x {kernel[1]} is larger than its image of {shape[1]} x {shape[2]}"
                f" with padding {padding}"
            )
        return self.out_channels, rows, columns

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """`[B, in_channels, H, W]` → `[B, out_channels, H', W']`; there is no state."""
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise UserError(
                f"Conv2d({self.extra_repr()}) takes [B, {self.in_channels}, rows, columns], "
                f"got {list(x.shape)}"
            )
        return functional.conv2d(x, self.quantized_weight, self.bias, self.stride, self.padding), None

    def extra_repr(self) -> str:
        """The sizes."""
        size = self.kernel_size
        shown = size[0] if size[0] == size[1] else size
        more = f", stride={self.stride}" if self.stride != 1 else ""
        more += f", padding={self.padding}" if self.padding else ""
        return f"{self.in_channels}, {self.out_channels}, {shown}{more}{self._settings()}"
